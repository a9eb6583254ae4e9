"""A server on one loop: `python -m loop.serve PEER APP CPU CERTIFICATE KEY`.

It tells its port, and serves until it is killed.
"""

import asyncio
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable

from child import reason
from loop.apps import APPS
from loop.peers import factory

# prctl's number for it, on Linux.
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel end this process when whoever started it has gone.

    No thread waits for that, and no loop: the bare server has one thread too, and a second would
    make every system call on a descriptor dearer, for the table of descriptors is then shared.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


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
    end_with_parent()
    try:
        with asyncio.Runner(loop_factory=factory(peer)) as runner:
            runner.run(serve(APPS[app](certificate, key)))
    except Exception as error:
        print(json.dumps({"unable": reason(error)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
