"""A slow server: `python -m choice.server SECONDS`. It tells its port.

It ends when its standard input does, and at the latest after ten minutes.
"""

import asyncio
import os
import sys

from choice.work import HOST

LONGEST = 600
BODY = b"x" * 2_000
ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY)) + BODY


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(float(sys.argv[1]))
        writer.write(ANSWER)
        await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        # The client has gone.
        pass
    finally:
        writer.close()


async def _serve() -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(0, over.set)
    loop.call_later(LONGEST, over.set)
    server = await asyncio.start_server(_answer, HOST, 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    # At once, whoever is connected.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve())
