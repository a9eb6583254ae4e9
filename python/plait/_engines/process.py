"""Calls in processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._carried import carrying
from plait._engines.defaults import default_executor
from plait._task import terms_of
from plait._terms import DEFAULT

if TYPE_CHECKING:
    from plait._future import Future
    from plait._processes import ProcessPoolExecutor
    from plait._terms import Terms

__all__ = ["ProcessEngine"]


class ProcessEngine:
    """Workers of a process pool."""

    def __init__(self, pool: ProcessPoolExecutor | None) -> None:
        """Use that pool, or the default one."""
        self._pool = pool

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called in a worker, with the values of the variables that its terms name."""
        pool = default_executor("process") if self._pool is None else self._pool
        if terms.context:
            fn = carrying(fn, terms.context)
        own = terms_of(fn)
        if terms is own or (own is None and terms is DEFAULT):
            # The quick way.
            return pool.submit(fn, *args, **kwargs)
        return pool._submit_on(terms, fn, args, kwargs)
