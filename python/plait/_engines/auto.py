"""Plain functions whose place is plait's to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._carried import carrying
from plait._engines.defaults import default_executor
from plait._engines.refusals import refusal
from plait._engines.thread import ThreadEngine
from plait._future import Future
from plait._pickling.outbound import describe

if TYPE_CHECKING:
    from plait._terms import Terms

__all__ = ["AutoEngine"]


class AutoEngine:
    """Processes for what can be pickled, threads for the rest."""

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Have `fn` called in one of the two default pools."""
        pool = default_executor("process")
        pool._pool.check_open()
        try:
            carried = carrying(fn, terms.context) if terms.context else fn
            call = pool._outbound.encode(carried, args, kwargs)
        except Exception as error:
            if refusal(fn, terms, "thread") is None:
                return ThreadEngine(None).submit(fn, args, kwargs, terms)
            return Future._failed(terms.name or describe(fn), error)
        return pool._send(call, terms, carried, args, kwargs)
