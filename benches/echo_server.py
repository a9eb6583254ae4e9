"""An echo server under a `Protocol`, on the loop that is named: `echo_server.py LOOP CPU`.

It prints its port and serves until its standard input ends.
"""

import asyncio
import importlib
import os
import sys
from typing import Any, cast


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer at once."""
        self.transport.write(data)


async def serve() -> None:
    """Listen on a port of the system's choice."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


def main(module: str, cpu: str) -> None:
    """Serve on the loop of a module, on one core."""
    os.sched_setaffinity(0, {int(cpu)})
    library: Any = importlib.import_module(module)
    with asyncio.Runner(loop_factory=library.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
