"""Calls in threads."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from plait._engines.defaults import default_executor

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import Terms
    from plait._threads import ThreadPoolExecutor

__all__ = ["ThreadEngine"]


class ThreadEngine:
    """Threads of a pool."""

    def __init__(self, pool: ThreadPoolExecutor | None) -> None:
        """Use that pool, or the default one."""
        self._pool = pool

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called in a copy of the caller's context."""
        pool = default_executor("thread") if self._pool is None else self._pool
        return pool._submit(fn, args, kwargs, terms, copy_context())
