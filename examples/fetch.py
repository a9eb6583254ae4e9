"""Fifty pages at once, in coroutines on plait's loop.

The server answers after a tenth of a second: one after another the pages would
take five. It runs in the same program only so that the example needs no network.
"""

import asyncio
import time

import plait

PAGES = 50
DELAY = 0.1


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, late."""
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.split()[1]
    await asyncio.sleep(DELAY)
    body = b"This is " + path
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()


async def fetch(port: int, number: int) -> bytes:
    """Fetch one page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /page/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200")
    return body


async def main() -> None:
    """Start the server and fetch all pages from it."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        start = time.perf_counter()
        bodies = await asyncio.gather(*[fetch(port, number) for number in range(PAGES)])
        seconds = time.perf_counter() - start
    assert bodies == [b"This is /page/%d" % number for number in range(PAGES)]
    print(f"{PAGES} pages in {seconds:.2f} s; one after another: {PAGES * DELAY:.0f} s and more")


if __name__ == "__main__":
    plait.run(main())
