"""The pools that automatic choice uses: as wide as calls that wait can use, and as this process is.

Processes are those of the default pool. What they have from this process they have since they were
started: where that is another by now, they are replaced; those of the user's own pool are not used.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from plait import _cores
from plait._engines.defaults import default_executor, is_made, renew

if TYPE_CHECKING:
    from plait._processes import ProcessPoolExecutor
    from plait._threads import ThreadPoolExecutor

__all__ = ["MOST_THREADS", "end", "is_cold", "processes", "threads", "threads_of", "width"]

#: So many calls that wait are under way at a time.
MOST_THREADS = 256

_lock = threading.Lock()
_threads: list[ThreadPoolExecutor] = []
_by_width: dict[int, ThreadPoolExecutor] = {}
# So many of these are kept.
_WIDTHS = 4
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[object] = []


def threads() -> ThreadPoolExecutor:
    """Return the threads, which are started as they are needed."""
    if not _threads:
        with _lock:
            if not _threads:
                from plait._threads import ThreadPoolExecutor

                _threads.append(ThreadPoolExecutor(MOST_THREADS, "plait-auto"))
    return _threads[0]


def threads_of(width: int) -> ThreadPoolExecutor:
    """Return a pool of so many threads, for calls of which no more are to run at a time."""
    from plait._threads import ThreadPoolExecutor

    width = min(width, MOST_THREADS)
    with _lock:
        pool = _by_width.pop(width, None) or ThreadPoolExecutor(width, f"plait-auto-{width}")
        # The one that was used last is the last.
        _by_width[width] = pool
        if len(_by_width) > _WIDTHS:
            # It ends when nobody holds it any more and what it has accepted is done.
            del _by_width[next(iter(_by_width))]
        return pool


def width() -> int:
    """Count the processes that there are, or would be."""
    return default_executor("process")._max_workers if is_made("process") else _cores.usable()


def is_cold() -> tuple[str, ...]:
    """Tell which engines have to be started before their first call."""
    return () if is_made("process") else ("process",)


def processes() -> ProcessPoolExecutor | str:
    """Return the processes; or why they cannot stand in for this one, as a clause."""
    changed = _context_is_special()
    if changed is not None:
        return changed
    pool = default_executor("process")
    if pool._surroundings is None or pool._surroundings.hold():
        return pool
    renewed: ProcessPoolExecutor | None = renew("process", pool)
    if renewed is None:
        return (
            "the environment, the working directory or the path was changed after the processes of "
            "the default pool, which the program has set, were started"
        )
    return renewed


def end() -> None:
    """End the threads, when what they have accepted is done."""
    with _lock:
        pools = [*_threads, *_by_width.values()]
        _threads.clear()
        _by_width.clear()
    for pool in pools:
        pool.shutdown()


def _context_is_special() -> str | None:
    """Tell what threads see and processes would not."""
    decimal: Any = sys.modules.get("_decimal")
    if decimal is not None and not _is_default(decimal.getcontext(), decimal.DefaultContext):
        return "the decimal context is another than at the start of a process"
    return None


def _is_default(context: Any, default: Any) -> bool:
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
    return all(getattr(context, name) == getattr(default, name) for name in names)


def _after_fork_in_child() -> None:
    global _lock, _threads, _by_width
    _inherited.append((_threads, _by_width))
    _lock, _threads, _by_width = threading.Lock(), [], {}


os.register_at_fork(after_in_child=_after_fork_in_child)
