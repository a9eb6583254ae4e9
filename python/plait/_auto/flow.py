"""A map whose look-ahead changes with the place where its items run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from plait._map.flow import Flow, Part

if TYPE_CHECKING:
    from plait._auto.mapping import AutoSender

__all__ = ["AutoFlow"]


class AutoFlow(Flow):
    """Reads as far ahead as the sender says."""

    def __init__(
        self, sender: AutoSender, items: Iterator[Any], *, length: int | None, ordered: bool
    ) -> None:
        """Read nothing yet."""
        self._auto = sender
        super().__init__(sender, items, sender.sizer, length=length, bound=1, ordered=ordered)

    def _send(self, items: list[Any], reading: float) -> None:
        try:
            super()._send(items, reading)
            # What is sent is in its place by now, whoever reads on meanwhile.
            self._auto.sent(self)
        except BaseException as error:
            self._auto.interrupted(error)
            raise

    def advance_until(self, ended: Callable[[], bool]) -> None:
        """Read and send what there is room for, in the place of a taker who makes a call.

        Args:
            ended: whether he goes on.

        """
        while not ended() and self._items is not None and (count := self._room()):
            self._advance(self._items, count)

    def send_again(self, part: Part) -> None:
        """Send the items of a chunk that has failed as a whole once more, each by itself."""
        self._auto.repeats = True
        try:
            super().send_again(part)
        finally:
            self._auto.repeats = False

    def lazily(self) -> Callable[[Any], Any] | None:
        """Return what makes the call of an item when its result is wanted; None: calls are sent."""
        if self._items is None or self._chunks or self._pending:
            return None
        return self._auto.call_in_turn()

    def end(self) -> None:
        """Leave what it had to other maps."""
        with self._lock:
            idle = not self._pending
        if idle:
            self._auto.end()

    @property
    def _bound(self) -> int:
        return self._auto.sizer.bound

    @_bound.setter
    def _bound(self, bound: int) -> None:
        self._auto.sizer.bound = bound
