"""The pools that automatic choice uses: as wide as calls that wait can use, and as this process is.

Processes are those of the default pool. What they have from this process they have since they were
started: where that is another by now, they are replaced; those of the user's own pool are not used.
For calls that wait as well as compute, of which more can be under way than there are cores, there
is a second pool. It is started beside, when it would have been better, and used once it is up.

A call in a thread of ours may hand out calls itself and wait for them. So no call waits for a
thread that waits for it: each map has threads of its own as long as it lasts, and what a thread of
ours submits goes to others, one level deeper; at the last level, calls are made where they are.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plait import _cores
from plait._engines.defaults import default_executor, is_given, is_made, renew

if TYPE_CHECKING:
    from plait._processes import ProcessPoolExecutor
    from plait._threads import ThreadPoolExecutor

__all__ = [
    "MOST_THREADS",
    "Lease",
    "end",
    "is_cold",
    "is_deepest",
    "level",
    "processes",
    "standing_at",
    "start_more_processes",
    "threads",
    "wide",
    "width",
]

#: So many calls that wait are under way at a time.
MOST_THREADS = 256
# So many levels of threads there are whose calls hand out calls.
_LEVELS = 4

# Reentrant: the collector may drop a map, which leaves its threads, wherever something is made.
_lock = threading.RLock()
# By their level, and whether they are for calls that wait.
_threads: dict[tuple[int, bool], ThreadPoolExecutor] = {}
# Those that no map has, by their level and how many threads they have.
_free: dict[tuple[int, int], ThreadPoolExecutor] = {}
# So many of these are kept.
_KEPT = 4
# The processes for calls that wait as well, and a call that ends when the first is up.
_more: tuple[ProcessPoolExecutor, concurrent.futures.Future[Any]] | None = None
# So many there are for each core.
_EACH = 4
# So many that is. It takes half a millisecond to find out, and reads files, after each of which the
# interpreter lock is to be waited for.
_most: int | None = None
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[object] = []


# What processes start with.
_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


class _Here(threading.local):
    # That of the pool that has this thread; 0: none of ours.
    level = 0


_here = _Here()


def _begin(level: int) -> None:
    _here.level = level


def level() -> int:
    """Tell how deep this thread is among those whose calls hand out calls; 0: it is none."""
    return _here.level


@contextmanager
def standing_at(level: int) -> Iterator[None]:
    """Hand out as a thread of that level would: this one does so in its place."""
    before, _here.level = _here.level, level
    try:
        yield
    finally:
        _here.level = before


def is_deepest() -> bool:
    """Whether this thread is one whose calls are to hand out no further ones."""
    return _here.level >= _LEVELS


def threads(*, wide: bool = True) -> ThreadPoolExecutor:
    """Return threads for what this one submits, which are started as they are needed.

    Args:
        wide: whether for calls that wait; otherwise as many as the default pool has.

    """
    key = min(_here.level + 1, _LEVELS), wide
    pool = _threads.get(key)
    if pool is None:
        width = MOST_THREADS if wide else default_executor("thread")._max_workers
        with _lock:
            pool = _threads.get(key)
            if pool is None:
                pool = _threads[key] = _make(width, key[0])
    return pool


def _make(width: int, level: int) -> ThreadPoolExecutor:
    from plait._threads import ThreadPoolExecutor

    return ThreadPoolExecutor(width, f"plait-auto-{width}", _begin, (level,))


class Lease:
    """Some threads that one map has for itself.

    Args:
        width: how many.

    """

    def __init__(self, width: int) -> None:
        """Take them from those that no map has."""
        self._process = os.getpid()
        self._key = min(_here.level + 1, _LEVELS), min(width, MOST_THREADS)
        with _lock:
            kept = _free.pop(self._key) if self._key in _free else None
        self.pool = _make(self._key[1], self._key[0]) if kept is None else kept
        #: How many were asked for.
        self.width = width

    def end(self) -> None:
        """Leave them to the next map: they have nothing to do."""
        if os.getpid() != self._process or self.pool._shutdown:
            # They end with the map: the collector has ended them before it dropped that.
            return
        with _lock:
            _free.pop(self._key, None)
            # The one that was used last is the last.
            _free[self._key] = self.pool
            if len(_free) > _KEPT:
                # It ends when nobody holds it any more and what it has accepted is done.
                del _free[next(iter(_free))]


def width() -> int:
    """Count the processes that there are, or would be."""
    return default_executor("process")._max_workers if is_made("process") else _cores.usable()


def is_cold() -> tuple[str, ...]:
    """Tell which engines have to be started before their first call."""
    return () if is_made("process") else ("process",)


def wide() -> tuple[int, bool]:
    """Tell how many processes there may be for calls that wait as well, and whether they are up.

    There are no more than the user's own, where he has set the default pool.
    """
    if is_given("process"):
        return 0, False
    more = _more
    is_up = more is not None and more[1].done() and more[1].exception() is None
    return _most_processes(), is_up


def _most_processes() -> int:
    global _most
    if _most is None:
        _most = _EACH * _cores.usable()
    return _most


def start_more_processes() -> None:
    """Start those for calls that wait as well, beside what goes on."""
    global _more
    from plait._processes import ProcessPoolExecutor

    try:
        with _lock:
            if _more is None:
                pool = ProcessPoolExecutor(_most_processes())
                _more = pool, pool.submit(int)
    except (RuntimeError, OSError):
        # The interpreter is exiting, or there is no room: calls go where they went before.
        return


def processes(width: int = 1) -> ProcessPoolExecutor | str:
    """Return the processes; or why they cannot stand in for this one, as a clause.

    Args:
        width: how many calls are to be under way at once.

    """
    global _more
    changed = _context_is_special()
    if changed is not None:
        return changed
    pool = default_executor("process")
    if width > pool._max_workers and wide()[1]:
        more = _more
        if more is not None and (more[0]._surroundings is None or more[0]._surroundings.hold()):
            return more[0]
        with _lock:
            # It ends when nobody holds it any more and what it has accepted is done.
            _more = None if _more is more else _more
    if pool._surroundings is None or pool._surroundings.hold():
        return pool
    renewed: ProcessPoolExecutor | None = renew("process", pool)
    if renewed is None:
        return (
            "the environment, the working directory, the path or a limit of the interpreter was "
            "changed after the processes of the default pool, which the program has set, were "
            "started"
        )
    return renewed


def end() -> None:
    """End the threads and our own processes, when what they have accepted is done."""
    global _more
    with _lock:
        pools: list[Any] = [*_threads.values(), *_free.values()]
        pools += [] if _more is None else [_more[0]]
        _threads.clear()
        _free.clear()
        _more = None
    for pool in pools:
        pool.shutdown()


def _context_is_special() -> str | None:
    """Tell what threads see and processes would not."""
    decimal: Any = sys.modules.get("_decimal")
    if decimal is not None and not _is_default(decimal.getcontext(), decimal.DefaultContext):
        return "the decimal context is another than at the start of a process"
    numpy: Any = sys.modules.get("numpy")
    geterr = getattr(numpy, "geterr", None)
    # There is none while numpy is being imported.
    if geterr is not None and geterr() != _NUMPY_ERRORS:
        return "what NumPy does about errors is another than at the start of a process"
    return None


def _is_default(context: Any, default: Any) -> bool:
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
    return all(getattr(context, name) == getattr(default, name) for name in names)


def _after_fork_in_child() -> None:
    global _lock, _threads, _free, _more, _most
    _inherited.append((_threads, _free, _more))
    _lock, _threads, _free, _more, _most = threading.RLock(), {}, {}, None, None
    _here.level = 0


os.register_at_fork(after_in_child=_after_fork_in_child)
