"""A server on one loop: `python -m loop.serve PEER APP CPU CERTIFICATE KEY`.

It tells its port, and serves until its standard input ends.
"""

import asyncio
import json
import os
import resource
import sys
import threading
from collections.abc import Awaitable

from loop.apps import APPS
from loop.child import reason
from loop.peers import factory


def end_with_input() -> None:
    """End the process when whoever started it has gone: no loop is asked to watch that."""
    sys.stdin.buffer.read()
    os._exit(0)


async def serve(starting: Awaitable[int]) -> None:
    """Start, tell the port, and go on for ever."""
    port = await starting
    print(json.dumps({"port": port}), flush=True)
    await asyncio.get_running_loop().create_future()


def main(peer: str, app: str, cpu: str, certificate: str, key: str) -> None:
    """Serve on one core."""
    os.sched_setaffinity(0, {int(cpu)})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        with asyncio.Runner(loop_factory=factory(peer)) as runner:
            runner.run(serve(APPS[app](certificate, key)))
    except Exception as error:
        print(json.dumps({"unable": reason(error)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
