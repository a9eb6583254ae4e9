"""Plain functions whose place is plait's to choose, by what their calls have shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._auto.calling import Caller

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import Terms

__all__ = ["AutoEngine"]


class AutoEngine:
    """The calling thread, another thread, or a process: see `plait._auto`."""

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called where its calls belong, as far as that is known."""
        return Caller(fn, terms).submit(args, kwargs)
