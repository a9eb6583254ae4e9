"""How items of `plait.map` are sent one by one, as `plait.submit` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._future import Future
from plait._mapping.sizing import Sizer

if TYPE_CHECKING:
    from plait._engines.engine import Engine
    from plait._terms import Terms

__all__ = ["SingleSender", "Steady"]


class SingleSender:
    """Makes a task of each item, as `plait.submit` does."""

    single = True

    def __init__(
        self, engine: Engine, fn: Callable[..., Any], terms: Terms, *, starred: bool
    ) -> None:
        """Send nothing yet."""
        self._engine = engine
        self._fn = fn
        self._terms = terms
        self._starred = starred

    def __call__(self, items: list[Any]) -> list[tuple[Future[Any], list[Any]]]:
        """Send items; return the futures, each with its item.

        Raises:
            RuntimeError: the engine takes nothing more.

        """
        submit, fn, terms = self._engine.submit, self._fn, self._terms
        if self._starred:
            return [(submit(fn, tuple(item), {}, terms), [item]) for item in items]
        return [(submit(fn, (item,), {}, terms), [item]) for item in items]


class Steady(Sizer):
    """Has a fixed number of single items under way."""

    def __init__(self, depth: int) -> None:
        """Keep to it."""
        super().__init__(1, 1)
        self._depth = depth

    def depth(self, left: int | None = None) -> int:
        """Tell how many should be under way."""
        return self._depth
