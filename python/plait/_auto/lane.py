"""One call after another, in the order in which they were submitted, beside an event loop.

Functions that change something are called so from coroutines: in a thread, for nothing may block
the loop, and never two at a time. Each loop has a lane of its own: a call that runs a loop itself,
and submits to it, waits for nobody.

A call whose function was not read yet has its place in the lane until it was. It is read in a
thread, whatever the lane waits for; if nothing keeps the call here, it leaves the lane and goes its
way, and only those that must be made in their turn wait for each other.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeAlias

from plait import _crew as _crew  # its exit hook comes after ours: threads end when lanes are empty
from plait import _process_exit as _process_exit  # and so do processes, to which calls go on
from plait._auto import pools
from plait._auto.chained import Chained
from plait._future import Future
from plait._terms import DEFAULT

__all__ = ["Read", "Start", "in_lane", "kept_open"]

#: Starts a call, and returns its future.
Start: TypeAlias = "Callable[[], Future[Any]]"
#: Reads a function; returns what starts the call at once, or None where it is made in its turn.
Read: TypeAlias = "Callable[[], Start | None]"


class _Entry:
    def __init__(self, name: str, start: Start, read: Read | None) -> None:
        self.future = Chained(name)
        self.start = start
        self.read = read


class _Lane:
    def __init__(self) -> None:
        # Held for single steps, never while anything is called.
        self._lock = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._unread: deque[_Entry] = deque()
        # Whether a call is under way; whether somebody starts calls; whether a thread reads.
        self._busy = self._starting = self._reading = False

    def submit(self, entry: _Entry) -> None:
        with self._lock:
            self._waiting.append(entry)
            reads = entry.read is not None
            if reads:
                self._unread.append(entry)
                reads, self._reading = not self._reading, True
        if reads:
            try:
                # In no context of the caller's: it reads for others, too.
                pools.threads()._submit(self._read_all, (), {}, DEFAULT, Context())
            except BaseException:
                # The interpreter is exiting, say.
                with self._lock:
                    self._reading = False
                    self._unread.remove(entry)
                    self._waiting.remove(entry)
                raise
        self._start_all()

    # -- calls that are made in their turn ----------------------------------

    def _start_all(self) -> None:
        """Start what can be started: by one thread at a time, which looks again at the end."""
        with self._lock:
            if self._starting:
                return
            self._starting = True
        try:
            while (entry := self._next()) is not None:
                self._start(entry)
        except BaseException:
            # Ctrl-C in the thread of the loop: another one goes on.
            self._starting = False
            pools.threads()._submit(self._start_all, (), {}, DEFAULT, Context())
            raise

    def _next(self) -> _Entry | None:
        """Take the call out that is to be started; None: there is none to be started now."""
        with self._lock:
            if self._waiting and self._waiting[0].read is None and not self._busy:
                self._busy = True
                return self._waiting.popleft()
            self._starting = False
            return None

    def _start(self, entry: _Entry) -> None:
        if entry.future.done():
            # Withdrawn while it waited.
            self._busy = False
            return
        try:
            future = entry.start()
        except BaseException as error:
            self._busy = False
            entry.future.fail(error)
            if not isinstance(error, Exception):
                raise
            return
        entry.future.follow(future)
        # Not the follower's end: what somebody ends by hand still runs.
        future.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        self._busy = False
        self._start_all()

    # -- functions that were not read ---------------------------------------

    def _read_all(self) -> None:
        """Read what there is to be read; in a thread."""
        while True:
            with self._lock:
                if not self._unread:
                    self._reading = False
                    return
                entry = self._unread.popleft()
            self._read(entry)
            self._start_all()

    def _read(self, entry: _Entry) -> None:
        start: Start | None = None
        failure: BaseException | None = None
        try:
            assert entry.read is not None
            if not entry.future.done():
                start = entry.read()
        except BaseException as error:
            failure = error
        with self._lock:
            entry.read = None
            if start is not None:
                self._waiting.remove(entry)
        if failure is not None:
            entry.future.fail(failure)
        elif start is not None:
            try:
                entry.future.follow(start())
            except BaseException as error:
                entry.future.fail(error)


_lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lane] = weakref.WeakKeyDictionary()
# Those that have not ended.
_open: set[Chained] = set()
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[object] = []


def in_lane(
    loop: asyncio.AbstractEventLoop, name: str, start: Start, read: Read | None = None
) -> Future[Any]:
    """Have a call started when those before it have ended.

    Args:
        loop: whose lane it is; the caller runs it, or is called by a lane of it.
        name: what the call is called.
        start: starts it.
        read: reads its function first, in a thread, and tells whether the call need not wait.

    """
    lane = _lanes.get(loop)
    if lane is None:
        lane = _lanes[loop] = _Lane()
    entry = _Entry(name, start, read)
    kept_open(entry.future)
    try:
        lane.submit(entry)
    except BaseException:
        _ended(entry.future)
        raise
    return entry.future


def kept_open(future: Chained) -> None:
    """Have the exit of the interpreter wait for the end of a call that starts later."""
    _open.add(future)
    future.add_done_callback(_ended)


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
