"""The checks of what both pools are made with."""

import operator
from collections.abc import Callable, Iterable
from typing import SupportsIndex

__all__ = [
    "check_initializer",
    "memory_limit",
    "module_names",
    "pending_limit",
    "worker_limit",
]


def worker_limit(max_workers: SupportsIndex) -> int:
    """Return how many workers a pool may have.

    Raises:
        ValueError: it is less than one.
        TypeError: it is not an integer.
    """
    try:
        limit = operator.index(max_workers)
    except TypeError:
        kind = type(max_workers).__name__
        raise TypeError(f"max_workers must be an integer or None, not {kind}") from None
    if limit <= 0:
        raise ValueError(f"max_workers must be greater than 0, not {limit}")
    return limit


def pending_limit(max_pending: SupportsIndex) -> int:
    """Return how many calls may wait.

    Raises:
        ValueError: it is negative.
        TypeError: it is not an integer.
    """
    try:
        limit = operator.index(max_pending)
    except TypeError:
        kind = type(max_pending).__name__
        raise TypeError(f"max_pending must be an integer or None, not {kind}") from None
    if limit < 0:
        raise ValueError(f"max_pending must be at least 0, not {limit}")
    return limit


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
    try:
        limit = operator.index(max_memory)
    except TypeError:
        kind = type(max_memory).__name__
        raise TypeError(f"max_memory must be a number of bytes or None, not {kind}") from None
    if limit <= 0:
        raise ValueError(f"max_memory must be greater than 0, not {limit}")
    # More than there is anywhere is no limit.
    return limit if limit < 1 << 62 else None
