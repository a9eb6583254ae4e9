"""Calls on executors of others."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from plait._carried import carrying
from plait._engines.attempts import Attempts
from plait._pickling.outbound import describe

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import Terms

__all__ = ["ForeignEngine"]


class ForeignEngine:
    """Any executor: what it has begun can be neither stopped nor timed."""

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        """Use that executor."""
        self._executor = executor

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have the executor call `fn`, and again as the terms say."""
        executor = self._executor
        name = terms.name or describe(fn)
        if isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            called: Callable[..., Any] = copy_context().run
            args = (fn, *args)
        else:
            called = carrying(fn, terms.context) if terms.context else fn
        return Attempts(lambda: executor.submit(called, *args, **kwargs), terms, name)
