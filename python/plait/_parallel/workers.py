"""The workers of `plait.parallel`: as many as it has calls, kept for a while."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plait import _alarms
from plait._surroundings import Surroundings

if TYPE_CHECKING:
    from plait._processes import ProcessPoolExecutor

__all__ = ["MOST", "end", "pool_for"]

# So many calls run at the same time, where nobody says how many.
MOST = 64
# For so many seconds processes that have nothing to do are kept.
_KEPT = 10.0


@contextmanager
def pool_for(kind: str, where: Any, limit: int) -> Iterator[Any]:
    """Find where calls go: a place, or a pool with room for `limit` of them."""
    if kind == "thread" and isinstance(where, str):
        from plait._threads import ThreadPoolExecutor

        pool = ThreadPoolExecutor(max(1, limit), thread_name_prefix="plait-parallel")
        try:
            yield pool
        finally:
            # A thread that was abandoned is not waited for.
            pool.shutdown(wait=False)
    elif kind == "process" and isinstance(where, str):
        kept = _kept.take(max(MOST, limit))
        try:
            yield kept
        finally:
            _kept.keep()
    else:
        yield where


class _Kept:
    """The processes, until nobody has wanted them for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        # What they have seen of this process, and how many they may be.
        self._seen: object = None
        self._alarm: _alarms.Alarm | None = None

    def take(self, limit: int) -> ProcessPoolExecutor:
        """Return a pool; who has it keeps it from ending."""
        seen = limit, Surroundings()
        before = None
        with self._lock:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if self._pool is None or self._seen != seen or not self._is_open(self._pool):
                from plait._processes import ProcessPoolExecutor

                # The one before ends when nobody has it any more.
                # What each worker would import for its first call, they have from the start:
                # twenty of them that import it one by one take seconds.
                made = ProcessPoolExecutor(limit, preload=["plait._worker.reporting"])
                before, self._pool = self._pool, made
                self._seen = seen
            pool = self._pool
        del before
        return pool

    @staticmethod
    def _is_open(pool: ProcessPoolExecutor) -> bool:
        try:
            pool._pool.check_open()
        except RuntimeError:
            return False
        return True

    def keep(self) -> None:
        """Keep the processes for a while."""
        with self._lock:
            if self._alarm is None and self._pool is not None:
                self._alarm = _alarms.call_at(time.monotonic() + _KEPT, self._forget)

    def _forget(self) -> None:
        with self._lock:
            pool, self._pool, self._alarm = self._pool, None, None
        del pool

    def end(self) -> None:
        """End the processes now."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def end() -> None:
    """End the processes now."""
    _kept.end()


# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[_Kept] = []


def _after_fork_in_child() -> None:
    global _kept
    _inherited.append(_kept)
    _kept = _Kept()


_kept = _Kept()
os.register_at_fork(after_in_child=_after_fork_in_child)
