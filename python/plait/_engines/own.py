"""Futures that Python code of ours ends."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable
from typing import Any

from plait._future import Future

__all__ = ["OwnFuture"]


class OwnFuture(Future[Any]):
    """A future of this process: one that was forked from it waits in vain."""

    def __init__(self) -> None:
        """Belong to this process."""
        super().__init__()
        self._made_in = os.getpid()

    def cancel(self) -> bool:
        """Withdraw what has not begun."""
        self._check_here()
        return super().cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the value of the task, or raise what it raised."""
        self._check_here()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the task raised."""
        self._check_here()
        return super().exception(timeout)

    def _check_here(self) -> None:
        """Refuse what would never come to an end.

        Raises:
            RuntimeError: it would not.

        """
        if os.getpid() != self._made_in and not self.done():
            raise RuntimeError(
                "this future belongs to the process that this one was forked from: its task "
                "cannot be waited for or cancelled here, submit it anew"
            )

    def _end(self, end: Callable[[], None]) -> None:
        """Have `end` end it, unless it has ended; then let go."""
        try:
            end()
        except concurrent.futures.InvalidStateError:
            # Somebody has ended it by hand: theirs stands.
            if not self.done():
                raise
        self._let_go()

    def _let_go(self) -> None:
        """Hold nothing of the call any more."""
