"""A worker: it runs one task after another in the process that it was forked into."""

import atexit
import os
import sys
import threading
from multiprocessing import process as multiprocessing_process
from typing import NamedTuple, NoReturn

from plait._binding import native
from plait._pickling.inbound import Inbound
from plait._worker import stopping
from plait._worker.protocol import Settings

__all__ = ["connect", "main"]


class Channel(NamedTuple):
    """The way to the pool."""

    native: native.Worker
    # Becomes readable when there is something to do, if several tasks run at once.
    doorbell: int | None


def connect(settings: Settings, memory: int, bell: int, *others: int) -> Channel:
    """Make the way to the pool, of descriptors that are then closed.

    Args:
        settings: what the template was told.
        memory: that of the rings.
        bell: that of the supervisor's eventfd.
        others: the doorbell, if several tasks run at once, which stays open; those of the arenas
            of requests and of results, if there are any.

    """
    several = settings["concurrency"] > 1
    doorbell = others[0] if several else None
    arenas = others[1:] if several else others
    worker = native.Worker(memory, bell, (arenas[0], arenas[1]) if arenas else None, several)
    for fd in (memory, bell, *arenas):
        os.close(fd)
    return Channel(worker, doorbell)


def main(
    channel: Channel, lifeline: int, number: int, parent_pid: int, settings: Settings
) -> NoReturn:
    """Be a worker until the pool says leave.

    Args:
        channel: the way to the pool.
        lifeline: becomes readable when the user's process ends.
        number: the worker's number in its pool.
        parent_pid: the user's process.
        settings: what the template was told.

    """
    _introduce(number, parent_pid, lifeline, settings)
    _reseed()
    stopping.heed(channel.native)
    inbound = Inbound(settings["main_file"], settings["main_package"])
    inbound.channel = channel.native
    inbound.as_pool = settings["as_pool"]
    inbound.several = channel.doorbell is not None
    channel.native.serve(inbound, settings["max_memory"], channel.doorbell)
    _leave()


def _introduce(number: int, parent_pid: int, lifeline: int, settings: Settings) -> None:
    """Let `multiprocessing` tell who this is and whose child."""
    # Private names, the same from 3.11 to 3.14: there is no public way for a
    # process that `multiprocessing` has not started.
    module = multiprocessing_process
    current = module.BaseProcess(name=f"plait-worker-{number}")
    current._parent_pid = parent_pid  # type: ignore[attr-defined]
    current._config["authkey"] = module.AuthenticationString(settings["authkey"])  # type: ignore[attr-defined]
    module._current_process = current  # type: ignore[attr-defined]
    module._parent_process = module._ParentProcess(  # type: ignore[attr-defined]
        settings["process_name"], parent_pid, lifeline
    )
    module._children = set()  # type: ignore[attr-defined]


def _reseed() -> None:
    """Give NumPy's global generator a seed of its own, as `random` does by itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _leave() -> NoReturn:
    """End as an interpreter does: the event loop, threads, `atexit`, buffers."""
    code = 0
    # Each on its own: one that fails does not keep the others from being run.
    for step in (_close_loop, threading._shutdown, atexit._run_exitfuncs, _flush):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
    os._exit(code)


def _close_loop() -> None:
    coroutines = sys.modules.get("plait._worker.coroutines")
    if coroutines is not None:
        coroutines.close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
