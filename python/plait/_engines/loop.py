"""Coroutines on an event loop: that of the calling thread, or one in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from plait._engines import background
from plait._engines.loop_call import LoopCall

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import Terms

__all__ = ["LoopEngine"]


class LoopEngine:
    """The loop that runs in this thread; without one, a loop in a thread of its own."""

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called and awaited there, in a copy of the caller's context."""
        loop = asyncio._get_running_loop()
        if loop is not None:
            call = LoopCall(loop, fn, args, kwargs, terms)
            call.start()
            return call.future
        return background.submit(
            lambda loop: LoopCall(loop, fn, args, kwargs, terms, copy_context())
        )
