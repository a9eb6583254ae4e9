"""A future that ends as another does, which may begin later, and have a successor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from plait._engines.own import OwnFuture
from plait._future import Future

__all__ = ["Chained"]


class Chained(OwnFuture):
    """The outcome of a call that is made by others.

    Args:
        name: what the call is called.
        again: is asked, for an exception, whether there is to be another call: it returns its
            future, or None.

    """

    def __init__(
        self, name: str, again: Callable[[BaseException], Future[Any] | None] | None = None
    ) -> None:
        """Follow nothing yet."""
        super().__init__()
        self._name = name
        self._again = again
        # Held for single steps, never while anything is called.
        self._lock = threading.Lock()
        self._followed: Future[Any] | None = None
        self._unwanted = False

    def follow(self, future: Future[Any]) -> None:
        """End as that future does."""
        with self._lock:
            self._followed = future
            unwanted = self._unwanted
        future.add_done_callback(self._ended)
        if unwanted:
            future.cancel()

    def fail(self, error: BaseException) -> None:
        """End with an error: there is nothing to follow."""
        self._end(lambda: self._fail(self._name, error))

    def cancel(self) -> bool:
        """Withdraw the call, or stop it where that can be done."""
        self._check_here()
        with self._lock:
            followed = self._followed
            self._unwanted = self._unwanted or followed is None
        if followed is None:
            return super().cancel()
        return followed.cancel()

    def running(self) -> bool:
        """Whether the call has begun and not ended."""
        followed = self._followed
        return not self.done() and followed is not None and followed.running()

    def _ended(self, future: Future[Any]) -> None:
        if future.cancelled():
            super().cancel()
            self._let_go()
            return
        error = future.exception()
        if error is None:
            self._end(lambda: self.set_result(future.result()))
            return
        again, self._again = self._again, None
        if again is not None:
            try:
                successor = again(error)
            except Exception as wrong:
                self.fail(wrong)
                return
            if successor is not None:
                self.follow(successor)
                return
        self.fail(error)

    def _let_go(self) -> None:
        """Hold nothing of the call any more."""
        self._followed = self._again = None
