"""`plait.per_worker`: one value for each worker, closed with it."""

import atexit
import functools
import logging
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar, cast, overload

__all__ = ["PerWorker", "close_here", "per_worker"]

_logger = logging.getLogger("plait")


class _Closes(Protocol):
    def close(self) -> object: ...


_T = TypeVar("_T")
_C = TypeVar("_C", bound=_Closes)


class PerWorker(Generic[_T]):
    """What `per_worker` makes of a factory: called, it gives the worker's own value.

    It goes to processes as functions do, by name or with its factory; each
    worker has one value of it, however often it arrives.
    """

    def __init__(self, factory: Callable[[], Any], key: str | None = None) -> None:
        """Make no value yet."""
        # Not the attributes: the factory may be a class.
        functools.update_wrapper(cast(Callable[..., Any], self), factory, updated=())
        self._factory = factory
        self._key = key

    def __call__(self) -> _T:
        """Return the value of this worker, made if it has none."""
        values = _values()
        kept = values.get(self)
        if kept is None:
            kept = values[self] = _opened(self._factory())
        value: _T = kept[0]
        return value

    def __reduce__(self) -> str | tuple[Any, ...]:
        name, module = getattr(self, "__qualname__", None), getattr(self, "__module__", None)
        if isinstance(name, str) and module != "__main__" and _lookup(module, name) is self:
            return name
        if self._key is None:
            self._key = os.urandom(16).hex()
            _known[self._key] = self
        return _revive, (self._key, self._factory)

    def __repr__(self) -> str:
        return f"plait.per_worker({self._factory!r})"


@overload
def per_worker(factory: Callable[[], _C]) -> PerWorker[_C]: ...


@overload
def per_worker(factory: Callable[[], AbstractContextManager[_T]]) -> PerWorker[_T]: ...


@overload
def per_worker(factory: Callable[[], _T]) -> PerWorker[_T]: ...


def per_worker(factory: Callable[[], Any]) -> PerWorker[Any]:
    """Give each worker a value of its own: a session, a connection to a database.

    The result is called by what runs in a worker. The first call there makes
    the value, the others return it. A worker is a thread of a thread pool, a
    process of a process pool, or any thread else; a thread that a task starts
    has its own.

    The value is closed when its worker ends: by `close()` if it has that;
    otherwise, if it is a context manager, it is entered at first, what that
    returns is the value, and it is left at the end. What raises then is logged.
    A process that is killed closes nothing.

    Args:
        factory: makes the value; usable as a decorator.

    Raises:
        TypeError: `factory` cannot be called.

    Example:
        >>> import plait, sqlite3
        >>> @plait.per_worker
        ... def database():
        ...     return sqlite3.connect(":memory:")
        >>> def double(number):
        ...     return database().execute("select 2 * ?", (number,)).fetchone()[0]
        >>> with plait.ThreadPoolExecutor(2) as pool:
        ...     list(pool.map(double, [1, 2, 3]))
        [2, 4, 6]
    """
    if not callable(factory):
        kind = type(factory).__qualname__
        raise TypeError(f"per_worker takes what makes the value, not an object of type {kind}")
    return PerWorker(factory)


# A value, and what closes it.
_Kept = tuple[Any, Callable[[], object] | None]
_Values = dict[PerWorker[Any], _Kept]


class _Guard:
    """In a thread's own storage: goes with the thread, and closes what it had."""

    def __init__(self) -> None:
        self.values: _Values = {}
        self.pid = os.getpid()

    def __del__(self) -> None:
        # In a forked child they are the parent's, whose thread is not here.
        if os.getpid() == self.pid:
            _close(self.values)


_local = threading.local()
# Those of a parent process, which must not even be let go of: that may close
# connections which the parent has.
_of_parents: list[object] = []
# The values of each thread, by the number of their dict.
_all: dict[int, _Values] = {}
_known: weakref.WeakValueDictionary[str, PerWorker[Any]] = weakref.WeakValueDictionary()


def _values() -> _Values:
    guard: _Guard | None = getattr(_local, "guard", None)
    if guard is None:
        guard = _local.guard = _Guard()
        _all[id(guard.values)] = guard.values
        if threading.current_thread() is threading.main_thread():
            # Its storage goes when nothing works any more.
            atexit.register(close_here)
    return guard.values


def close_here() -> None:
    """Close the values of the calling thread, which ends."""
    guard: _Guard | None = getattr(_local, "guard", None)
    if guard is not None:
        _close(guard.values)


def _close(values: _Values) -> None:
    _all.pop(id(values), None)
    while values:
        # The last that was made first: it may need others.
        per_worker, (value, close) = values.popitem()
        if close is not None:
            try:
                close()
            except Exception:
                _logger.exception("exception while closing %r of %r", value, per_worker)


def _opened(made: Any) -> _Kept:
    if isinstance(made, types.CoroutineType):
        made.close()
        raise TypeError("per_worker takes a plain function: nothing awaits what a coroutine makes")
    kind = type(made)
    close = getattr(made, "close", None)
    if callable(close):
        import inspect

        if inspect.iscoroutinefunction(close):
            raise TypeError(
                f"the close() of {kind.__qualname__} is to be awaited, and a worker ends where "
                "nothing is: per_worker takes what is closed by a plain call"
            )
        return made, close
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return kind.__enter__(made), functools.partial(kind.__exit__, made, None, None, None)
    return made, None


def _lookup(module: object, name: str) -> object:
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _revive(key: str, factory: Callable[[], Any]) -> PerWorker[Any]:
    found = _known.get(key)
    if found is None:
        found = _known[key] = PerWorker(factory, key)
    return found


def _after_fork_in_child() -> None:
    global _local
    _of_parents.append(dict(_all))
    _all.clear()
    _local = threading.local()


os.register_at_fork(after_in_child=_after_fork_in_child)
