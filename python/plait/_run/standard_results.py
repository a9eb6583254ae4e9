"""The results of `multiprocessing.Pool`, which tell nobody of a failure that is lost.

As with futures, nothing is put around their methods: it would stand in every
traceback that comes out of them.
"""

from __future__ import annotations

import collections
import functools
import multiprocessing.pool
import sys
import weakref
from typing import Any

from plait import _lost
from plait._binding import native

__all__ = ["watch"]

_Pool: Any = multiprocessing.pool.Pool
_Result: Any = multiprocessing.pool.ApplyResult
_Iterator: Any = multiprocessing.pool.IMapIterator
_gets = _Result.get.__code__
# What makes them, for a function that it calls `func`.
_makes = {getattr(_Pool, name).__code__ for name in ("apply_async", "imap", "imap_unordered")}
_makes.add(_Pool._map_async.__code__)
# Those that nobody has got or iterated to their end, for what is left at exit.
_kept: weakref.WeakSet[Any] = weakref.WeakSet()


def watch() -> None:
    """Have what the methods of `multiprocessing.Pool` return report a failure that is lost."""
    for kind, look in (_Result, _look_at_result), (_Iterator, _look_at_items):
        kind.__init__ = _noting(kind.__init__)
        kind.__del__ = look
    _Result._value = property(_get, _set)
    _lost.look_at_exit(_look)


def _noting(init: Any) -> Any:
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._plait_site = native.current_site()
        self._plait_name = _name()
        if isinstance(self, _Iterator):
            self._items = _Items()
        _kept.add(self)

    return __init__


def _name() -> str | None:
    """Say what the function is called for which this thread makes a result."""
    frame = sys._getframe(2)
    # A `MapResult` makes itself in between.
    for _ in range(2):
        if frame.f_code in _makes:
            return _lost.name_of(frame.f_locals.get("func"))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _get(result: Any) -> Any:
    state = vars(result)
    if sys._getframe(1).f_code is _gets:
        state["_plait_asked"] = True
    try:
        return state["_value"]
    except KeyError:
        raise AttributeError("_value") from None


def _set(result: Any, value: Any) -> None:
    vars(result)["_value"] = value


class _Items(collections.deque[Any]):
    """What is there to be iterated over: pairs of success and value."""

    # Whether a failure was given out: one stands for all.
    told = False

    def popleft(self) -> Any:
        item = super().popleft()
        if not item[0]:
            self.told = True
        return item


def _look_at_result(result: Any) -> None:
    state = vars(result)
    event = state.get("_event")
    if event is None or not event.is_set() or state.get("_success", True):
        return
    if state.get("_error_callback") is None:
        _report(state, state["_value"])


def _look_at_items(iterator: Any) -> None:
    state = vars(iterator)
    items = state.get("_items", ())
    if getattr(items, "told", False):
        return
    for success, value in [*items, *state.get("_unsorted", {}).values()]:
        if not success:
            _report(state, value)
            return


def _report(state: dict[str, Any], error: BaseException) -> None:
    if not state.get("_plait_asked", False):
        state["_plait_asked"] = True
        site = state.get("_plait_site")
        _lost.report(error, state.get("_plait_name"), *(site or (None, None)))


def _look() -> None:
    for result in list(_kept):
        (_look_at_result if isinstance(result, _Result) else _look_at_items)(result)
