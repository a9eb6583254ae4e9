"""What a task group does for a call: a coroutine that waits for its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait._future import Future

__all__ = ["Wait"]


class Wait(Coroutine[Any, Any, None]):
    """Waits for the end of a call, also if this is cancelled: then the call is.

    A task that is cancelled before its first step never runs its coroutine. This takes that step
    all the same: a call runs from the moment when it is submitted.

    Args:
        given: will have the future of the call, or be cancelled.
        grace: how many seconds to wait, once this is cancelled, for what nobody can stop.

    """

    def __init__(self, given: asyncio.Future[Future[Any]], grace: float) -> None:
        """Begin with the first step."""
        self._inner = _wait(given, grace)
        self._begun = False

    def send(self, value: Any, /) -> Any:
        """Take a step."""
        self._begun = True
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """Take a step, with an exception; the first one comes before that."""
        if not self._begun:
            # What it waits for then, it waits for in vain: it is to be cancelled.
            self.send(None)
        return self._inner.throw(*error)

    def close(self) -> None:
        """Take no step any more."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait in another coroutine."""
        return self._inner.__await__()


async def _wait(given: asyncio.Future[Future[Any]], grace: float) -> None:
    cancelled = False
    try:
        future = await given
    except asyncio.CancelledError:
        if not given.done() or given.cancelled():
            raise
        future, cancelled = given.result(), True
    end: asyncio.Future[None] | None = None
    while not future.done():
        if cancelled and end is None and not future.cancel() and not future.done():
            # Nobody can stop it: who has its future may still wait for it.
            end = asyncio.ensure_future(asyncio.sleep(grace))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not future._subscribe(asyncio.get_running_loop(), waiter):
            break
        try:
            await asyncio.wait(
                [waiter] if end is None else [waiter, end], return_when="FIRST_COMPLETED"
            )
        except asyncio.CancelledError:
            cancelled = True
        finally:
            future._unsubscribe(waiter)
        if end is not None and end.done():
            break
    if end is not None:
        end.cancel()
    if future.done() and not future.cancelled():
        error = future.exception()
        if error is not None and not isinstance(error, concurrent.futures.CancelledError):
            raise error
    if cancelled:
        raise asyncio.CancelledError
