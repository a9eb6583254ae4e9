"""Running a plain function for real: one call after another, in threads, in processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from itertools import repeat
from time import perf_counter, sleep
from typing import Any

from plait import _all_engines
from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.estimating import Estimate
from plait._measure.notes import noting

__all__ = ["verify"]

#: Seconds to wait for the workers of a pool to show up.
_PATIENCE = 30.0


def verify(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    estimates: list[Estimate],
    batch: int,
    budget: Budget,
) -> dict[str, float | str]:
    """Run the batch on each engine, the most promising first, as the budget allows.

    Returns:
        The seconds that each took, scaled up where only a part of the batch was run; or a clause
        that says why it could not. An engine that there was no time for is not in it.
    """
    found: dict[str, float | str] = {}
    for place, estimate in enumerate(estimates):
        share = budget.share(len(estimates) - place)
        outcome: float | str | None
        if estimate.method == "serial":
            outcome = _serial(fn, args, estimate, batch, budget, share)
        else:
            outcome = _pooled(fn, args, estimate, batch, budget, share)
        if outcome is not None:
            found[estimate.method] = outcome
    return found


def _serial(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    estimate: Estimate,
    batch: int,
    budget: Budget,
    share: float,
) -> float | None:
    """Make the batch one call after another."""
    rounds = native.Rounds(batch, 1, estimate.seconds / batch, share)
    with noting("serially"):
        while calls := rounds.part():
            start = perf_counter()
            for _ in repeat(None, calls):
                fn(*args)
            taken = perf_counter() - start
            rounds.took(calls, taken)
            budget.spend(taken, calls)
    return rounds.seconds()


def _pooled(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    estimate: Estimate,
    batch: int,
    budget: Budget,
    share: float,
) -> float | str | None:
    """Make the batch in a pool that is started before the clock runs."""
    threads, width = estimate.method == "thread", estimate.width
    rounds = native.Rounds(batch, width * estimate.chunk, estimate.seconds / batch, share)
    if not rounds.part():
        return None
    kind = _all_engines.ThreadPoolExecutor if threads else _all_engines.ProcessPoolExecutor
    with kind(width) as pool:
        if threads:
            _meet(pool, width)
        elif (problem := _load(pool, width, fn)) is not None:
            return problem
        with noting("in threads" if threads else "in processes"):
            while calls := rounds.part():
                taken = _together(pool, fn, args, calls, estimate.chunk)
                rounds.took(calls, taken)
                budget.spend(taken, calls)
                if not threads and estimate.warm_up:
                    # In the next run the workers would not be new to the function any more.
                    break
    return rounds.seconds()


def _together(
    pool: _all_engines.Executor,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    calls: int,
    chunk: int,
) -> float:
    """Time in seconds from handing out the first of many calls to the last result."""
    start = perf_counter()
    if chunk > 1 and args:
        for _ in pool.map(fn, *(repeat(arg, calls) for arg in args), chunksize=chunk):
            pass
        return perf_counter() - start
    futures = [pool.submit(fn, *args) for _ in repeat(None, calls)]
    try:
        for future in futures:
            future.result()
    except BaseException:
        # The first failure is the answer; what has not begun never does.
        for future in futures:
            future.cancel()
        raise
    return perf_counter() - start


def _meet(pool: _all_engines.Executor, width: int) -> None:
    """Have every thread of a pool started: they all wait for each other."""
    barrier = threading.Barrier(width)
    for future in [pool.submit(barrier.wait, _PATIENCE) for _ in range(width)]:
        future.result()


def _load(pool: _all_engines.Executor, width: int, fn: Callable[..., Any]) -> str | None:
    """Have every worker of a pool started and the function known there.

    Returns:
        Why that cannot be, as a clause.
    """
    seen: set[int] = set()
    limit = perf_counter() + _PATIENCE
    while len(seen) < width and perf_counter() < limit:
        futures = [pool.submit(_known, fn) for _ in range(width)]
        try:
            seen.update(future.result() for future in futures)
        except BrokenExecutor:
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            return f"a worker could not load the function ({type(error).__name__}: {text})"
    return None


def _known(fn: Callable[..., Any]) -> int:
    """Run in a worker: the function came as an argument, so its module is imported by now."""
    # Long enough that the other tasks find the other workers.
    sleep(0.005)
    return os.getpid()
