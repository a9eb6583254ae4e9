"""Exceptions that nobody asked for, on a loop of plait's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
import traceback
from types import CodeType
from typing import Any

from plait import _lost
from plait._binding import native
from plait._standard_losses import WatchedFuture

__all__ = ["LosingMixin"]


class LosingMixin:
    """Reports through `plait.losthook` what asyncio's loop logs of lost exceptions."""

    def _init_losing(self) -> None:
        # Again for the first loop of a forked process.
        _lost.look_at_exit(_look)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that has no caller to go to.

        The exception of a task or future that was never retrieved, and of a
        callback, goes to `plait.losthook`; all else to asyncio's logger. What
        asyncio would have logged is part of the report, and who has given its
        logger handlers of its own, or filters, has them asked.
        """
        error = context.get("exception")
        message = context.get("message") or ""
        if isinstance(error, BaseException):
            lost = context.get("task") or context.get("future")
            if lost is not None and message.endswith("was never retrieved"):
                _lost.report(error, *_origin(lost), _told(context))
                return
            handle = context.get("handle")
            if handle is not None and message.startswith("Exception in callback"):
                callback = getattr(handle, "_callback", None)
                _lost.report(error, _lost.name_of(callback), *_created(handle), _told(context))
                return
        asyncio.BaseEventLoop.default_exception_handler(self, context)  # type: ignore[arg-type]

    # For a loop that ends with the interpreter: names of modules are gone then.
    _is_at_end = staticmethod(sys.is_finalizing)

    def _close_losing(self) -> None:
        """Report the tasks of a closed loop that have failed and that nobody has asked."""
        if self._is_at_end():
            return  # they were looked for at exit
        loop: Any = self
        for task in _tasks():
            if task.get_loop() is loop:
                _look_at(task)


# Where asyncio keeps the tasks that are there, those that have ended too; not
# from 3.14 on, where they come out when they are collected, or at exit.
_known: Any = vars(asyncio.tasks).get("_scheduled_tasks", vars(asyncio.tasks).get("_all_tasks"))


def _tasks() -> list[asyncio.Task[Any]]:
    for _ in range(1000):
        try:
            return list(_known)
        except RuntimeError:
            continue  # another thread makes a task
    return []


def _told(context: dict[str, Any]) -> str:
    """Say what asyncio says of an error."""
    lines = [str(context["message"])]
    for key in sorted(context.keys() - {"message", "exception"}):
        value = context[key]
        what = {"source_traceback": "Object", "handle_traceback": "Handle"}.get(key)
        if what is None:
            lines.append(f"{key}: {value!r}")
        else:
            frames = "".join(traceback.format_list(value)).rstrip()
            lines.append(f"{key}: {what} created at (most recent call last):\n{frames}")
    return "\n".join(lines)


def _origin(future: Any) -> tuple[str | None, str | None, int | None]:
    """Tell what a task or future is called, and where it was made."""
    known: tuple[str | None, str | None, int | None] | None = getattr(future, "_plait_origin", None)
    if known is not None:
        return known
    name = None
    place: tuple[str | None, int | None] | None = None
    if isinstance(future, asyncio.Task):
        name = f"{future.get_name()} ({_coroutine_name(future)})"
        place = native.task_site(future)
    if place is None:
        place = _created(future)
    return (name, *place)


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__name__


def _created(thing: Any) -> tuple[str | None, int | None]:
    """Tell where a future or handle was made: asyncio keeps that in debug mode."""
    for frame in reversed(getattr(thing, "_source_traceback", None) or ()):
        if not native.site_passes(frame.filename):
            return frame.filename, frame.lineno
    return None, None


def _look() -> None:
    """Report the tasks and futures that are still there and were never asked for."""
    asyncio_futures = (asyncio.Future, asyncio.Task)
    for found in gc.get_objects():
        if isinstance(found, asyncio_futures) and isinstance(found.get_loop(), LosingMixin):
            _look_at(found)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Report what a task or future has failed with, if nobody has asked it."""
    if not future.done() or future.cancelled() or not getattr(future, "_log_traceback", False):
        return
    error = future.exception()  # it has been asked for now
    if error is not None:
        kind = "Task" if isinstance(future, asyncio.Task) else "Future"
        context = {"message": f"{kind} exception was never retrieved", "future": future}
        _lost.report(error, *_origin(future), _told(context))


def _watch_threadsafe(callback: Any) -> None:
    """Have the future that `asyncio.run_coroutine_threadsafe` returns report what is lost.

    Args:
        callback: what that gives to `call_soon_threadsafe`.

    """
    cells = dict(zip(callback.__code__.co_freevars, callback.__closure__, strict=True))
    future = cells["future"].cell_contents
    # A class of somebody else's may do so itself.
    if type(future) is concurrent.futures.Future:
        WatchedFuture.watch(future, getattr(cells["coro"].cell_contents, "__qualname__", None))


def _prepare() -> None:
    """Have the loop show those callbacks, which are known by their code."""
    for code in asyncio.run_coroutine_threadsafe.__code__.co_consts:
        if isinstance(code, CodeType) and {"future", "coro"} <= set(code.co_freevars):
            native.watch_threadsafe(code, _watch_threadsafe)


_prepare()
