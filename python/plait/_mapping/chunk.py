"""What one map sends at a time."""

from typing import Any, Protocol

from plait._future import Future
from plait._worker.chunk import Reply

__all__ = ["Chunk", "Send"]


class Send(Protocol):
    """Sends chunks of the items of one map."""

    # Whether each item is a task of its own.
    single: bool

    def __call__(self, items: list[Any]) -> "list[tuple[Future[Any], list[Any]]]":
        """Send items; return the futures, each with its items."""


class Chunk:
    """Some items that were sent together, or what the input raised in their place."""

    __slots__ = ("cost", "future", "items", "single")

    def __init__(
        self, future: "Future[Any]", items: list[Any], cost: float, single: bool = False
    ) -> None:
        """Keep what the future will be asked for."""
        self.future = future
        self.items = items
        # Whether the future's result is that of its one item.
        self.single = single
        # Seconds that reading and pickling took.
        self.cost = cost

    def reply(self) -> Reply:
        """Return what the chunk came to, or raise what became of it as a whole."""
        result = self.future.result()
        return (0.0, [result], {}) if self.single else result
