"""The three rules that people quote, each on an example of its own, come out of the measurement.

CPU bound                     -> processes
I/O bound, fast, few at once  -> threads
I/O bound, slow, many at once -> asyncio

python rules.py                                # all three, with a server of its own
python rules.py serve 8765 &                   # a slow server, to ask about one of them:
plait which rules:fetch --args '[8765]' --batch 8
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import plait

HOST = "127.0.0.1"


def primes(limit: int) -> int:
    """Compute in Python."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))


def fetch(port: int, delay: float = 0.02) -> int:
    """Wait for a server, as a blocking client does."""
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", f"/{delay}")
        return len(connection.getresponse().read())
    finally:
        connection.close()


async def fetch_many(port: int, delay: float = 1.0) -> int:
    """Wait for a server, as a coroutine does."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET /{delay} HTTP/1.0\r\n\r\n".encode())
        return len(await reader.read())
    finally:
        writer.close()


async def serve(port: int) -> None:
    """Answer each request after as many seconds as its path says."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            await asyncio.sleep(float(path[1:]))
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 2000)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has gone.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, port, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Until somebody ends it.
    await server.serve_forever()


@contextmanager
def slow_server() -> Iterator[int]:
    """Have a server in a process of its own; give its port."""
    command = [sys.executable, __file__, "serve", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def main() -> None:
    """Measure all three."""
    with slow_server() as port:
        for rule, found in (
            ("CPU bound", plait.measure(primes, 12_000, batch=50)),
            ("I/O bound, fast, few", plait.measure(fetch, port, batch=8)),
            ("I/O bound, slow, many", plait.measure(fetch, port, 1.0, batch=1_000)),
            ("the last as a coroutine", plait.measure(fetch_many, port, 1.0, batch=1_000)),
        ):
            print(f"\n{rule}: {found.best}\n{found}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    else:
        main()
