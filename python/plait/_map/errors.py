"""The failures of the items of a map."""

from __future__ import annotations

import asyncio
import copy
import reprlib

__all__ = ["again", "named", "raisable"]

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlong = 40


def named(error: BaseException, name: str, number: int, item: object) -> BaseException:
    """Add a note that says which item has failed."""
    note = f"\nIn item {number} of plait.map({name}): {_short.repr(item)}"
    try:
        error.add_note(note)
    except TypeError:
        # Somebody has set `__notes__` to something else.
        error.__notes__ = [note]
    return error


def again(error: BaseException) -> BaseException:
    """Return an exception as that one, for another item that it stands for."""
    try:
        made = copy.copy(error)
    except Exception:
        return error
    if type(made) is not type(error):
        return error
    made.__notes__ = list(getattr(error, "__notes__", ()))
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made.with_traceback(error.__traceback__)


def raisable(error: BaseException) -> BaseException:
    """Return what can be raised for the failure of an item without meaning something else.

    `StopIteration` would end the iteration, and `asyncio.CancelledError` the coroutine that
    iterates.
    """
    if not isinstance(error, StopIteration | StopAsyncIteration | asyncio.CancelledError):
        return error
    made = RuntimeError(f"an item raised {type(error).__qualname__}")
    made.__notes__ = list(getattr(error, "__notes__", ()))
    made.__cause__ = error
    return made
