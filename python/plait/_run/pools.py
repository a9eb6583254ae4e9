"""`plait run --pools`: plait's pools in the places of the standard ones."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import concurrent.futures.thread
import multiprocessing
import multiprocessing.context
import multiprocessing.pool
from typing import TYPE_CHECKING, Any

import plait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["replace"]


def replace() -> None:
    """Have the names of the standard pools stand for plait's."""
    # What plait's own modules take from there is taken before.
    threads, processes = plait.ThreadPoolExecutor, plait.ProcessPoolExecutor
    for module, name, pool in (
        (concurrent.futures, "ThreadPoolExecutor", threads),
        (concurrent.futures.thread, "ThreadPoolExecutor", threads),
        (concurrent.futures, "ProcessPoolExecutor", processes),
        (concurrent.futures.process, "ProcessPoolExecutor", processes),
        (multiprocessing.pool, "Pool", plait.Pool),
        (multiprocessing.pool, "ThreadPool", plait.ThreadPool),
        (multiprocessing, "Pool", _pool),
    ):
        setattr(module, name, pool)
    multiprocessing.context.BaseContext.Pool = _pool_of_context  # type: ignore[assignment]


def _pool(
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> plait.Pool:
    """Make a pool of processes; see `plait.Pool`."""
    # Without the context: which one it is, is the program's way to say how
    # workers come about, and plait's come about in its own.
    return plait.Pool(processes, initializer, initargs, maxtasksperchild)


def _pool_of_context(
    self: multiprocessing.context.BaseContext,
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
) -> plait.Pool:
    """Make a pool of processes; see `plait.Pool`."""
    return _pool(processes, initializer, initargs, maxtasksperchild)
