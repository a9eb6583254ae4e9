"""Calls that whoever submits them makes at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from plait._future import Future
from plait._pickling.outbound import describe
from plait._terms import Terms, pause

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SerialEngine"]


class SerialEngine:
    """The calling thread."""

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Call `fn`, here and now, and return what came of it."""
        # An exception keeps the frames that it has passed, and those that called them: none of
        # them has the future, which keeps the exception.
        attempt = 1
        while True:
            try:
                value = copy_context().run(_call, fn, args, kwargs)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                if attempt > terms.retries or not isinstance(error, terms.retry_on):
                    name = terms.name or describe(fn)
                    return Future._failed(name, error.with_traceback(_beyond(error.__traceback__)))
            else:
                return Future._succeeded(value)
            time.sleep(pause(terms.backoff, attempt))
            attempt += 1


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    if not isinstance(value, Coroutine):
        return value
    from plait._serial import run_coroutine

    return run_coroutine(value)


_AUTO = os.path.join(os.path.dirname(os.path.dirname(__file__)), "_auto")
_OURS = (__file__, *(os.path.join(_AUTO, name) for name in ("calling.py", "measuring.py")))


def _beyond(frames: TracebackType | None) -> TracebackType | None:
    """Skip our own frames."""
    while frames is not None and frames.tb_frame.f_code.co_filename in _OURS:
        frames = frames.tb_next
    return frames
