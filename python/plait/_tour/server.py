"""The HTTP server of the tour: `python -m plait._tour.server DELAY`.

It runs on asyncio's own loop, so that plait's engines are tried against something else than
themselves. It writes its port on standard output, and ends when standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys

from plait._tour.site import HOST, page

__all__: list[str] = []


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ", 2)[1].decode("ascii")
        number = path.removeprefix("/page/")
        found = number.isascii() and number.isdigit()
        await asyncio.sleep(delay)
        body = page(int(number)) if found else b"there is no such page\n"
        status = "200 OK" if found else "404 Not Found"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        # The client went away: there is nobody to answer.
        pass
    finally:
        writer.close()


async def _serve(delay: float) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(0, over.set)
    server = await asyncio.start_server(
        lambda reader, writer: _answer(reader, writer, delay), HOST, 0, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    # At once, whoever is connected.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
