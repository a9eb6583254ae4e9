"""Which engine takes a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._engines.refusals import check, kind_of
from plait._task import is_coroutine_function
from plait._terms import Away, Terms

if TYPE_CHECKING:
    from plait._engines.engine import Engine
    from plait._terms import On

__all__ = ["engine_for"]


# Each engine is imported when it is first used.
def engine_for(fn: Callable[..., Any], terms: Terms, on: On | None) -> Engine:
    """Find where to run `fn`: where `on` says, or else its terms, or else where such things run.

    Raises:
        TypeError: `fn` cannot run there.
        ValueError: one of its terms cannot be kept there.
        RuntimeError: it was to run on an executor of another process.

    """
    where = terms.on if on is None else on
    if where is None:
        where = "loop" if is_coroutine_function(fn) else "thread"
    elif isinstance(where, Away):
        raise RuntimeError(
            f"the task was to run on a {where.name}, which stayed in the process that the task "
            "came from; say on=..."
        )
    check(fn, terms, where)
    kind = kind_of(where)
    if kind == "auto":
        kind = where = "loop" if is_coroutine_function(fn) else "auto"
    pool: Any = None if isinstance(where, str) else where
    if kind == "thread":
        from plait._engines.thread import ThreadEngine

        return ThreadEngine(pool)
    if kind == "loop":
        from plait._engines.loop import LoopEngine

        return LoopEngine()
    if kind == "process":
        from plait._engines.process import ProcessEngine

        return ProcessEngine(pool)
    if kind == "auto":
        from plait._engines.auto import AutoEngine

        return AutoEngine()
    if kind == "serial":
        from plait._engines.serial import SerialEngine

        return SerialEngine()
    from plait._engines.foreign import ForeignEngine

    return ForeignEngine(pool)
