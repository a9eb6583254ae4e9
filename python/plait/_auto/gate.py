"""The first calls of a function beside a loop: a few at once, until it is known where calls belong.

A program that begins submits hundreds at once. A hundred threads that compute take turns at the
interpreter lock with the thread of the loop, which stood still for 1.5 s so; and calls that are
measured in such a crowd tell of the crowd. So a few are made, and the others wait until it is
decided: then all go where they belong. If none ends for a while, calls may wait for each other:
more are made.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from plait import _cores
from plait._auto.chained import Chained
from plait._auto.lane import Start, kept_open
from plait._future import Future

__all__ = ["Gate"]

# Seconds without an end after which more calls are made.
_PATIENCE = 0.1


class _Entry(NamedTuple):
    future: Chained
    first: Start
    anew: Start


class Gate:
    """The first calls of one function.

    Args:
        is_known: tells whether it is known where calls belong.

    """

    def __init__(self, is_known: Callable[[], bool]) -> None:
        """Make no call yet."""
        self._is_known = is_known
        # Held for single steps, never while anything is called.
        self._lock = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        # As many as the default pool of asyncio has threads for, on a machine of a few cores.
        self._few = self._most = _cores.usable() + 4
        self._under_way = self._ends = 0
        self._timed = False
        # Whether a thread makes calls, and is to look again.
        self._starting = self._again = False

    def enter(self) -> bool:
        """Tell whether a call may be made now; `made` is to follow."""
        with self._lock:
            free = self._under_way < self._most and not self._waiting
            self._under_way += free
            return free

    def made(self, first: Start) -> Future[object]:
        """Make a call that has entered."""
        try:
            future = first()
        except BaseException:
            self._left()
            raise
        future.add_done_callback(self._ended)
        return future

    def wait(
        self, loop: asyncio.AbstractEventLoop, name: str, first: Start, anew: Start
    ) -> Future[object]:
        """Have a call made later.

        Args:
            loop: beside which it is made.
            name: what the call is called.
            first: makes it, and measures it.
            anew: makes it where it belongs, once that is known.

        """
        entry = _Entry(Chained(name), first, anew)
        kept_open(entry.future)
        with self._lock:
            self._waiting.append(entry)
            timed, self._timed = self._timed, True
        if not timed:
            self._look_later(loop, self._ends)
        # Those under way may have ended just before it was there.
        self._go_on()
        return entry.future

    def _look(self, loop: asyncio.AbstractEventLoop, ends: int) -> None:
        """Make more calls if none has ended; in the thread of the loop."""
        with self._lock:
            self._timed = bool(self._waiting)
            if not self._timed:
                return
            if self._ends == ends:
                self._most += self._few
            ends = self._ends
        self._look_later(loop, ends)
        self._go_on()

    def _look_later(self, loop: asyncio.AbstractEventLoop, ends: int) -> None:
        try:
            # A thread that has read the function may be the one that submits.
            loop.call_soon_threadsafe(loop.call_later, _PATIENCE, self._look, loop, ends)
        except RuntimeError:
            # The loop was closed meanwhile: each end makes the next call.
            self._timed = False

    def _ended(self, _: object) -> None:
        self._left()
        self._go_on()

    def _left(self) -> None:
        with self._lock:
            self._under_way -= 1
            self._ends += 1

    def _go_on(self) -> None:
        """Make the calls that can be made: by one thread at a time, which looks again at the end.

        They are begun in the order in which they were submitted.
        """
        with self._lock:
            if self._starting:
                self._again = True
                return
            self._starting = True
        try:
            while (found := self._next()) is not None:
                self._start(*found)
        except BaseException:
            # Ctrl-C in the thread of the loop: the next end goes on.
            self._starting = False
            raise

    def _next(self) -> tuple[_Entry, bool] | None:
        """Take out a call that can be made; tell whether it is known where. None: there is none."""
        while True:
            known = self._is_known()
            with self._lock:
                if self._waiting and (known or self._under_way < self._most):
                    self._under_way += not known
                    return self._waiting.popleft(), known
                if not self._waiting:
                    self._most = self._few
                again, self._again = self._again, False
                if not again:
                    self._starting = False
                    return None

    def _start(self, entry: _Entry, known: bool) -> None:
        if entry.future.done():
            # Withdrawn while it waited.
            if not known:
                self._left()
            return
        try:
            entry.future.follow(entry.anew() if known else self.made(entry.first))
        except BaseException as error:
            entry.future.fail(error)
            if not isinstance(error, Exception):
                raise
