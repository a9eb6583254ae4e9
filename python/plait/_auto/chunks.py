"""Chunks of a map's calls: made here, in a thread, or in processes that may refuse them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from plait._auto import pools
from plait._auto.chained import Chained
from plait._auto.guarding import Differs, Guarded
from plait._engines.thread import ThreadEngine
from plait._future import Future
from plait._mapping.sending import Sender
from plait._terms import DEFAULT
from plait._worker.chunk import Reply, run_chunk

if TYPE_CHECKING:
    from plait._auto.calling import Caller

__all__ = ["GuardedSender", "made_here", "made_in_thread"]


def made_here(fn: Callable[..., Any], mode: int, items: list[Any]) -> Future[Reply]:
    """Make the calls of a chunk one after another, now."""
    return Future._succeeded(copy_context().run(run_chunk, fn, mode, items, _keep_here))


def made_in_thread(pool: Any, fn: Callable[..., Any], mode: int, items: list[Any]) -> Future[Reply]:
    """Have a thread make them."""
    return ThreadEngine(pool).submit(run_chunk, (fn, mode, items, _keep), {}, DEFAULT)


def _keep(error: BaseException) -> BaseException:
    return error


def _keep_here(error: BaseException) -> BaseException:
    # Ctrl-C in the thread of whoever takes the results is his.
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return error


class GuardedSender(Sender):
    """Sends chunks to processes, which refuse them where their globals are others."""

    def __init__(self, *args: Any, caller: Caller, loop: Any, **kwargs: Any) -> None:
        """Send nothing yet."""
        super().__init__(*args, **kwargs)
        self._plain_fn = self._fn
        self._caller = caller
        self._loop = loop

    def __call__(self, items: list[Any]) -> list[tuple[Future[Reply], list[Any]]]:
        """Send items; see `Sender`."""
        digests = self._caller.digests()
        if not digests:
            return super().__call__(items)
        if isinstance(digests, str):
            # What it reads cannot be compared any more.
            self._caller.record.keep(digests)
            return [(self._made_here(items), items)]
        self._fn = Guarded(self._plain_fn, digests, self._name)
        sent: list[tuple[Future[Reply], list[Any]]] = []
        for future, part in super().__call__(items):
            guarded = Chained(self._name, partial(self._again, part))
            guarded.follow(future)
            sent.append((guarded, part))
        return sent

    def _again(self, items: list[Any], error: BaseException) -> Future[Any] | None:
        if not isinstance(error, Differs):
            return None
        self._caller.refuse(error)
        return self._in_thread(items)

    def _refused(self, item: Any) -> Future[Reply]:
        return self._made_here([item])

    def _made_here(self, items: list[Any]) -> Future[Reply]:
        if self._loop is not None:
            return self._in_thread(items)
        return made_here(self._plain_fn, self._mode, items)

    def _in_thread(self, items: list[Any]) -> Future[Reply]:
        return made_in_thread(pools.threads(wide=False), self._plain_fn, self._mode, items)
