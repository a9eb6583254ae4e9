"""`run` and `new_event_loop`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from plait._loop.loop import EventLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["new_event_loop", "run"]

T = TypeVar("T")


def new_event_loop() -> EventLoop:
    """Return a new loop; the caller closes it.

    Example:
        >>> import asyncio, plait
        >>> with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        ...     runner.run(asyncio.sleep(0, "done"))
        'done'

    """
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine on a plait loop of its own, as `asyncio.run` does.

    Args:
        main: The coroutine. It is awaited to its end; whatever tasks it leaves
            are then cancelled and awaited, and the loop is closed.
        debug: Whether asyncio's debug mode is on; by default as the
            environment says (``PYTHONASYNCIODEBUG``, ``-X dev``).

    Returns:
        What the coroutine returns.

    Raises:
        RuntimeError: A loop runs already in this thread.
        ValueError: `main` is not a coroutine (from 3.14 on, a TypeError if it
            cannot be awaited at all).

    Example:
        >>> import asyncio, plait
        >>> plait.run(asyncio.sleep(0, "done"))
        'done'

    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "plait.run() cannot be called from a running event loop: await the coroutine instead"
        )
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
