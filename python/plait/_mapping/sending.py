"""Turns items into tasks of a process pool."""

from collections.abc import Callable
from typing import Any

from plait._binding import native
from plait._future import Future
from plait._pickling.outbound import Outbound, describe
from plait._task import submitted_terms
from plait._worker.chunk import AWAITED, CHUNK, STARRED, Reply

__all__ = ["Sender"]


class Sender:
    """Sends chunks of the items of one map.

    Args:
        pool: the pool.
        outbound: what its workers have been told.
        fn: is called for each item.
        mode: how; see `plait._worker.chunk`.
        submit: the executor's, for items that are tasks of their own.
        single: whether all are: somebody else has written `submit`.
        several: whether coroutines run at once in a worker; those of a chunk do not.

    """

    def __init__(
        self,
        pool: native.ProcessPool,
        outbound: Outbound,
        fn: Callable[..., Any],
        mode: int,
        submit: Callable[..., Future[Any]],
        *,
        single: bool,
        several: bool = False,
    ) -> None:
        """Send nothing yet."""
        import inspect  # not for programs without a map: it is a fifth of starting a pool

        self._pool = pool
        self._outbound = outbound
        self._fn = fn
        self._mode = mode | AWAITED if inspect.iscoroutinefunction(fn) else mode
        self._name = describe(fn)
        self._submit = submit
        # Whether each item is a task of its own: it may have terms of its own.
        self.single = single or submitted_terms(fn) is not None
        if several and self._mode & AWAITED:
            self.single = True

    def __call__(self, items: list[Any]) -> "list[tuple[Future[Reply], list[Any]]]":
        """Send items; what cannot be pickled is the outcome of its future.

        Returns:
            The futures, each with its items.

        Raises:
            RuntimeError: the pool takes nothing more.

        """
        if self.single:
            return [(self._submit(self._fn, *self._arguments(item)), [item]) for item in items]
        try:
            images, target, packer = self._outbound.encode(self._fn, (self._mode, items), {})
        except Exception:
            if len(items) > 1:
                # At least one of them cannot be pickled; the others can.
                return [sent for item in items for sent in self([item])]
            return [(self._refused(items[0]), items)]
        future = self._pool.submit(target | CHUNK, images, packer, self._name, None)
        return [(future, items)]

    def _arguments(self, item: Any) -> tuple[Any, ...]:
        return tuple(item) if self._mode & STARRED else (item,)

    def _refused(self, item: Any) -> "Future[Reply]":
        """Fail as the call of this item alone does, which says what is wrong."""
        try:
            self._outbound.encode(self._fn, self._arguments(item), {})
        except Exception as error:
            return Future._failed(self._name, error)
        again = RuntimeError(f"{item!r} could not be pickled, and then it could")
        return Future._failed(self._name, again)
