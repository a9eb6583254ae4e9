"""Futures of the standard library that report an exception that nobody asks for.

Nothing is put around their methods: it would stand in every traceback that
comes out of them. What they keep the exception in is a property instead.
"""

from __future__ import annotations

import concurrent.futures
import sys
import weakref
from typing import Any

from plait import _lost
from plait._binding import native

__all__ = ["WatchedFuture", "exception", "report"]

_shows = concurrent.futures.Future.__repr__.__code__
# Those that have failed, for what is left of them at exit.
_failed: weakref.WeakSet[Any] = weakref.WeakSet()


def _get(future: Any) -> BaseException | None:
    state = vars(future)
    error: BaseException | None = state["_exception"]
    # `result` and `exception`, of which all others are made, get to see it.
    if error is not None and sys._getframe(1).f_code is not _shows:
        state["_plait_asked"] = True
    return error


def _set(future: Any, error: BaseException | None) -> None:
    state = vars(future)
    state["_exception"] = error
    if error is None:
        # It is made.
        state["_plait_site"] = native.current_site()
    else:
        _failed.add(future)


#: What a future keeps its exception in.
exception = property(_get, _set)


def report(future: Any) -> None:
    """Report the exception of a future that goes, if nobody has asked for it."""
    state = vars(future)
    error = state.get("_exception")
    if error is None or state.get("_plait_asked", False):
        return
    state["_plait_asked"] = True
    site = state.get("_plait_site")
    _lost.report(error, state.get("_plait_name"), *(site or (None, None)))


def _look() -> None:
    for future in list(_failed):
        report(future)


class WatchedFuture(concurrent.futures.Future[Any]):
    """A standard future that reports; one that is there can become one."""

    _exception: Any = exception
    __del__ = report

    @classmethod
    def watch(cls, future: Any, name: str | None) -> None:
        """Have a future report whose task is called so and is submitted here."""
        future.__class__ = cls
        vars(future).update(_plait_name=name, _plait_site=native.current_site())


# So it shows itself.
WatchedFuture.__name__ = WatchedFuture.__qualname__ = "Future"

_lost.look_at_exit(_look)
