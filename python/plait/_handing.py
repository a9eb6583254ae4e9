"""Handing locks, queues and other shared things to processes that are being started.

`multiprocessing` lets them be pickled only while a process is spawned, and asks the object that
stands for it to take their descriptors along.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from typing import Any

from plait._pickling.shared import check_locks
from plait._worker.inherited import DupFd

__all__ = ["Handing", "everything", "handing", "tracker"]

# Descriptors that one pool can hand on: it does not wait for its template to take them.
_MOST = 500


class Handing:
    """What `multiprocessing` takes for a process that is being spawned."""

    DupFd = DupFd

    def __init__(self) -> None:
        """Hand nothing yet."""
        # In the order of their places; open as long as their owners in the arguments are.
        self.fds: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        """Take a descriptor along; return its place among them."""
        self.fds.append(fd)
        return len(self.fds) - 1


@contextmanager
def handing() -> Iterator[Handing]:
    """Let this thread pickle what only a process that is being started may be given."""
    if "multiprocessing.synchronize" in sys.modules:
        check_locks()
    set_spawning: Any = set_spawning_popen
    before, handed = get_spawning_popen(), Handing()
    set_spawning(handed)
    try:
        yield handed
    finally:
        # Not just None: a signal handler that starts a process may come at any point.
        set_spawning(before)


def everything(handed: Handing) -> tuple[list[int], bool]:
    """List the descriptors that the workers of a pool are handed.

    Returns:
        The descriptors, and whether the first is the resource tracker's: without it, trackers of
        the workers would remove what this process still uses.

    Raises:
        ValueError: it is too much.

    """
    if len(handed.fds) > _MOST:
        raise ValueError(f"the arguments of the initializer have more than {_MOST} descriptors")
    own = tracker()
    return (handed.fds, False) if own is None else ([own, *handed.fds], True)


def tracker() -> int | None:
    """Return the descriptor of the resource tracker, if this process has one."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    fd: int | None = None if module is None else module._resource_tracker._fd
    return fd
