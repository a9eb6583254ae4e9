"""`install`: asyncio makes plait's loops from here on."""

from __future__ import annotations

import asyncio
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plait._loop.loop import EventLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["install", "uninstall"]

_lock = threading.Lock()
# The policy that stood when ours was put in place.
_before: Any = None


@contextmanager
def _without_deprecation() -> Iterator[None]:
    """Silence what 3.14 says about policies: until 3.16 they are how this is done."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*[Pp]olicy.*", DeprecationWarning)
        yield


with _without_deprecation():

    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        """asyncio's default policy, but for the loops that it makes."""

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            """Return a new `plait.EventLoop`."""
            return EventLoop()


def install() -> None:
    """Have asyncio make plait's loops: `asyncio.run` and all that builds on it.

    A second call changes nothing. Loops that exist already stay what they are.
    """
    global _before
    with _lock, _without_deprecation():
        current = asyncio.get_event_loop_policy()
        if not isinstance(current, EventLoopPolicy):
            _before = current
            asyncio.set_event_loop_policy(EventLoopPolicy())


def uninstall() -> None:
    """Undo `install`. If another policy was set since, that one stays."""
    global _before
    with _lock, _without_deprecation():
        if isinstance(asyncio.get_event_loop_policy(), EventLoopPolicy):
            asyncio.set_event_loop_policy(_before)
        _before = None
