"""What asyncio itself takes for seen: the second failure of a `gather`."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["watch"]

_gather: Any = asyncio.gather


def watch() -> None:
    """Have `asyncio.gather` leave failures that it does not raise to be asked for."""
    for module in (asyncio, asyncio.tasks):
        if vars(module).get("gather") is _gather:
            vars(module)["gather"] = gather


def gather(*coros_or_futures: Any, return_exceptions: bool = False) -> Any:
    """Do as `asyncio.gather`; a failure behind the first stays one that nobody asked for.

    asyncio marks every failure as retrieved, though it raises only the first.
    """
    if return_exceptions or not coros_or_futures:
        return _gather(*coros_or_futures, return_exceptions=return_exceptions)
    stands: dict[Any, asyncio.Future[Any]] = {}
    loop = None
    for given in coros_or_futures:
        if given not in stands:
            child = asyncio.ensure_future(given, loop=loop)
            loop = child.get_loop()
            if child is not given and isinstance(child, asyncio.Task):
                # As asyncio does: nobody but the gathering waits for it.
                child._log_destroy_pending = False  # type: ignore[attr-defined]
            stands[given] = _Stand.of(child)
    outer = _gather(*(stands[given] for given in coros_or_futures))
    raised = _Raised(outer)
    for stand in stands.values():
        stand.add_done_callback(raised)
    return outer


class _Stand(asyncio.Future[Any]):
    """Stands for a future in a `gather`, and has what it came to."""

    _child: asyncio.Future[Any]

    @classmethod
    def of(cls, child: asyncio.Future[Any]) -> _Stand:
        stand = cls(loop=child.get_loop())
        stand._child = child
        child.add_done_callback(stand._take)
        return stand

    def cancel(self, msg: Any | None = None) -> bool:
        return self._child.cancel(msg)

    def _take(self, child: asyncio.Future[Any]) -> None:
        if child.cancelled():
            super().cancel(*child._make_cancelled_error().args[:1])  # type: ignore[attr-defined]
        elif (error := getattr(child, "_exception", None)) is not None:
            # Read without the mark that it was retrieved.
            self.set_exception(error)
        else:
            self.set_result(child.result())


class _Raised:
    """Marks the failure that a `gather` raises, and no other, as retrieved."""

    def __init__(self, outer: asyncio.Future[Any]) -> None:
        self._outer = outer

    def __call__(self, stand: asyncio.Future[Any]) -> None:
        assert isinstance(stand, _Stand)
        if stand.cancelled():
            return
        error = stand.exception()
        outer = self._outer
        raises = outer.done() and not outer.cancelled()
        if error is not None and raises and getattr(outer, "_exception", None) is error:
            stand._child.exception()
