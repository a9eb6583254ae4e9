"""What all engines have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import Terms

__all__ = ["Engine"]


class Engine(Protocol):
    """A place where tasks run."""

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called on these terms, which are not refused.

        Raises:
            RuntimeError: the engine takes nothing more.

        """
        ...
