"""One call after another, in the order in which they were submitted, beside an event loop.

Functions that change something are called so from coroutines: in a thread, for nothing may block
the loop, and never two at a time. Each loop has a lane of its own: a call that runs a loop itself,
and submits to it, waits for nobody.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from plait import _crew as _crew  # its exit hook comes after ours: threads end when lanes are empty
from plait._auto.chained import Chained
from plait._future import Future

__all__ = ["in_lane"]


class _Entry(NamedTuple):
    future: Chained
    start: Callable[[], Future[Any]]


class _Lane:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._busy = False

    def submit(self, entry: _Entry) -> None:
        with self._lock:
            self._waiting.append(entry)
            if self._busy:
                return
            self._busy = True
        self._start_next()

    def _start_next(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                entry = self._waiting.popleft()
            if entry.future.done():
                # Withdrawn while it waited.
                _ended(entry.future)
                continue
            try:
                future = entry.start()
            except Exception as error:
                entry.future.fail(error)
                continue
            entry.future.follow(future)
            # Not the follower's end: what somebody ends by hand still runs.
            future.add_done_callback(lambda _: self._start_next())
            return


_lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lane] = weakref.WeakKeyDictionary()
# Those that have not ended.
_open: set[Chained] = set()
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[object] = []


def in_lane(
    loop: asyncio.AbstractEventLoop, name: str, start: Callable[[], Future[Any]]
) -> Future[Any]:
    """Have a call started when those before it have ended.

    Args:
        loop: whose lane it is; the caller runs it.
        name: what the call is called.
        start: starts it.

    """
    lane = _lanes.get(loop)
    if lane is None:
        lane = _lanes[loop] = _Lane()
    future = Chained(name)
    _open.add(future)
    future.add_done_callback(_ended)
    lane.submit(_Entry(future, start))
    return future


def _ended(future: Any) -> None:
    _open.discard(future)


def _wait_for_all() -> None:
    """Wait for what was accepted, while there are threads for it."""
    while _open:
        concurrent.futures.wait(list(_open))


def _after_fork_in_child() -> None:
    global _lanes, _open
    _inherited.append((_lanes, _open))
    _lanes, _open = weakref.WeakKeyDictionary(), set()


threading._register_atexit(_wait_for_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
