"""The checks of what both pools are made with."""

import operator
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = [
    "check_context",
    "check_initializer",
    "check_lifetime",
    "check_seconds",
    "concurrency_limit",
    "memory_limit",
    "module_names",
    "pending_limit",
    "worker_limit",
]

_warned_of_fork = False


def _whole(
    name: str, value: SupportsIndex, least: int, bound: str, what: str = "an integer"
) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {what} or None, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be {bound}, not {number}")
    return number


def worker_limit(max_workers: SupportsIndex) -> int:
    """Return how many workers a pool may have.

    Raises:
        ValueError: it is less than one.
        TypeError: it is not an integer.
    """
    return _whole("max_workers", max_workers, 1, "greater than 0")


def pending_limit(max_pending: SupportsIndex) -> int:
    """Return how many calls may wait.

    Raises:
        ValueError: it is negative.
        TypeError: it is not an integer.
    """
    return _whole("max_pending", max_pending, 0, "at least 0")


def concurrency_limit(concurrency: SupportsIndex) -> int:
    """Return how many coroutines a worker may run at once.

    Raises:
        ValueError: it is less than one.
        TypeError: it is not an integer.
    """
    return _whole("concurrency", concurrency, 1, "at least 1")


def check_initializer(initializer: Callable[..., object] | None) -> None:
    """Refuse an initializer that cannot be called.

    Raises:
        TypeError: it cannot.
    """
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be a callable, not {type(initializer).__name__}")


def module_names(preload: Iterable[str]) -> list[str]:
    """Return the names of modules to preload.

    Raises:
        TypeError: they are not names.
        ValueError: `__main__` is among them.
    """
    names = [preload] if isinstance(preload, str) else list(preload)
    if isinstance(preload, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"preload must be a list of names of modules, not {preload!r}")
    if "__main__" in names:
        raise ValueError(
            "preload cannot have '__main__', which is not imported in workers: what tasks use of "
            "it travels to them by value"
        )
    return names


def memory_limit(max_memory: SupportsIndex | None) -> int | None:
    """Return how many bytes a worker may have, `None` for no limit.

    Raises:
        ValueError: it is less than one.
        TypeError: it is not an integer.
    """
    if max_memory is None:
        return None
    limit = _whole("max_memory", max_memory, 1, "greater than 0", "a number of bytes")
    # More than there is anywhere is no limit.
    return limit if limit < 1 << 62 else None


def check_seconds(name: str, seconds: float | None) -> float | None:
    """Refuse what is not a number of seconds, or None.

    Raises:
        ValueError: it is negative or not a number.
        TypeError: it is of no numeric type.
    """
    if seconds is None:
        return None
    if not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be a number of seconds or None, not {type(seconds).__name__}")
    if not seconds >= 0:
        raise ValueError(f"{name} must be at least 0, not {seconds}")
    return float(seconds)


def check_context(mp_context: "BaseContext | None") -> str | None:
    """Return the start method of a context; warn, once, of what "fork" does not do here.

    Raises:
        AttributeError: it is no context; as the standard executor.
    """
    global _warned_of_fork
    if mp_context is None:
        return None
    method: str = mp_context.get_start_method(allow_none=False)
    if method == "fork" and not _warned_of_fork:
        _warned_of_fork = True
        warnings.warn(
            "plait's workers are forked from a clean template, not from this process: what it "
            "has in memory, its open files, threads and the locks and queues of the context "
            "'fork' are not there. Pass what tasks need as arguments or by the initializer, and "
            "locks and queues of the context 'spawn' in initargs",
            UserWarning,
            stacklevel=_outside(),
        )
    return method


def _outside() -> int:
    """Count the frames up to the first that is not the package's own, for a warning's `stacklevel`.

    A pool of either interface may be made directly or by a subclass.
    """
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
        level += 1
    return level


def check_lifetime(tasks: int | None, method: str | None) -> None:
    """Refuse a number of tasks per worker that the standard executor refuses.

    Raises:
        ValueError: it is less than one, or used with the start method "fork".
        TypeError: it is not an integer.
    """
    if tasks is None:
        return
    if not isinstance(tasks, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if tasks <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if method == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method;"
            " supply a different mp_context."
        )
