"""The future of a coroutine that runs on an event loop."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from plait._engines.own import OwnFuture

if TYPE_CHECKING:
    from plait._engines.loop_call import LoopCall

__all__ = ["LoopFuture"]


class LoopFuture(OwnFuture):
    """What comes of a coroutine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: LoopCall) -> None:
        """Wait for the end of `call`."""
        super().__init__()
        self._loop = loop
        # Held by its loop until it ends.
        self._call = weakref.ref(call)

    def cancel(self) -> bool:
        """Withdraw the coroutine if it has not begun; otherwise cancel it where it waits."""
        OwnFuture._check_here(self)
        if self._withdraw():
            return True
        call = self._call()
        return call is not None and not self.done() and call.request_stop()

    def _check_here(self) -> None:
        super()._check_here()
        if asyncio._get_running_loop() is self._loop and not self.done():
            raise RuntimeError(
                "this thread runs the event loop that the coroutine needs: to wait for it here "
                "would stop both for ever; await the future instead"
            )
