"""Coroutines that tasks return, run in the worker's own event loop."""

import asyncio
import contextvars
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from plait._loop.loop import EventLoop
from plait._loop.run import new_event_loop

__all__ = ["close", "event_loop", "outcome", "run"]

# Used for its end alone, which is that of `asyncio.run`.
_runner: asyncio.Runner | None = None
# The process that has made it.
_owner = 0


def run(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Run a coroutine to its end, in a context of its own.

    The loop is kept for the next one. What a coroutine leaves behind in it goes on while the next
    one runs.

    Returns:
        True and what it returned, or False and what it raised.

    Raises:
        BaseException: what a signal handler raised while nothing of the coroutine ran. The
            coroutine has been cancelled then, and has ended.

    """
    task: asyncio.Task[tuple[bool, Any]] | None = None
    try:
        loop = event_loop()
        task = loop.create_task(outcome(coroutine), context=contextvars.copy_context())
        result: tuple[bool, Any] = loop.run_until_complete(task)
        return result
    except BaseException:
        if task is not None and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):  # it has not begun
                loop.run_until_complete(task)
        # One that has not begun would warn that nobody has awaited it.
        coroutine.close()
        raise


def event_loop() -> EventLoop:
    """Return the loop of this worker."""
    global _runner, _owner
    if _runner is None:
        _owner = os.getpid()
        _runner = asyncio.Runner(loop_factory=new_event_loop)
    loop = _runner.get_loop()
    assert isinstance(loop, EventLoop)
    return loop


async def outcome(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Await a coroutine.

    Returns:
        True and what it returned, or False and what it raised.

    """
    try:
        return True, await coroutine
    except BaseException as error:
        return False, error


def close() -> None:
    """End what is left in the loop, and the loop."""
    global _runner
    # A child that a task has forked has no part in it.
    if _runner is not None and _owner == os.getpid():
        runner, _runner = _runner, None
        runner.close()
