"""How many items are sent at a time, while that is decided and decided anew."""

from __future__ import annotations

from collections.abc import Callable

from plait._map.calls import Steady
from plait._mapping.sizing import Sizer

__all__ = ["AutoSizer"]


class AutoSizer(Sizer):
    """Asks another sizer, which can be replaced at any time.

    Args:
        learned: is told how many items took how many seconds.

    """

    def __init__(self, learned: Callable[[int, float], None]) -> None:
        """Have one item under way."""
        self._inner: Sizer = Steady(1)
        self._learned = learned
        #: How many items may be under way or have results that nobody has taken.
        self.bound = 1
        super().__init__(1, None)

    def use(self, inner: Sizer, bound: int) -> None:
        """Ask that one from now on."""
        self._inner = inner
        self.fixed = inner.fixed
        self.bound = bound

    def learn(self, count: int, seconds: float) -> None:
        """Take in that a chunk of `count` items took so long."""
        self._inner.learn(count, seconds)
        self._learned(count, seconds)

    def size(self, left: int | None, bound: int | None) -> int:
        """Tell how many items the next chunk gets."""
        return self._inner.size(left, bound)

    def depth(self, left: int | None = None) -> int:
        """Tell how many chunks should be under way."""
        return self._inner.depth(left)
