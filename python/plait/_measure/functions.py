"""Measuring a plain function: serially, in threads, in processes."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter, sleep
from typing import Any

from plait import _all_engines
from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.carriage import Carriage
from plait._measure.clocks import Clocks
from plait._measure.notes import noting

__all__ = ["IsCoroutine", "Pilot", "Ran", "pilot", "pooled", "serial"]

#: No-op tasks that a pool is timed with.
_NOTHINGS = 200
#: Seconds to wait for the workers of a pool to show up.
_PATIENCE = 30.0


class IsCoroutine(Exception):
    """A plain callable turned out to return a coroutine."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What the first calls of a function cost, and what one of them returned."""

    call: Clocks
    result: object


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that ran on an engine; seconds, but for the number of calls at once."""

    seconds: float
    width: int
    handout: float
    start_up: float


def pilot(fn: Callable[..., Any], args: tuple[Any, ...], budget: Budget) -> Pilot:
    """Make the first call, and a few more if it is cheap: the first one is often slow."""
    enough = budget.left / 20
    spent, best, result = 0.0, None, None
    with noting("serially"):
        for _ in range(4):
            start = Clocks.now()
            result = fn(*args)
            call = Clocks.now() - start
            if inspect.iscoroutine(result):
                result.close()
                raise IsCoroutine
            budget.spend(call.wall, 1)
            spent += call.wall
            best = call if best is None or call.wall < best.wall else best
            if spent >= enough:
                break
    assert best is not None
    return Pilot(best, result)


def serial(
    fn: Callable[..., Any], args: tuple[Any, ...], first: Pilot, batch: int, budget: Budget
) -> tuple[float, Clocks]:
    """Make the batch one call after another.

    Returns:
        The time in seconds of the batch, and the clocks of one call in its fastest run.
    """
    runs: list[Clocks] = []
    rounds = native.Rounds(batch, 1, first.call.wall, budget.share(3))
    with noting("serially"):
        while calls := rounds.part():
            start = Clocks.now()
            for _ in repeat(None, calls):
                fn(*args)
            spent = Clocks.now() - start
            rounds.took(calls, spent.wall)
            budget.spend(spent.wall, calls)
            runs.append(spent / calls)
    seconds = rounds.seconds()
    if seconds is None:
        return first.call.wall * batch, first.call
    return seconds, min(runs, key=lambda call: call.wall)


def pooled(
    engine: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    call: Clocks,
    batch: int,
    budget: Budget,
    share: float,
    carriage: Carriage | None = None,
) -> Ran | str | None:
    """Make the batch in a pool that is started, and warm, before the clock runs.

    Returns:
        How it went; None if there was no time for it; or a clause that says why it cannot run.
    """
    threads = engine == "thread"
    cores = _all_engines.cores()
    width = min(batch, min(32, cores + 4) if threads else cores)
    # Nothing is known yet about the interpreter lock: in threads, computing may not overlap.
    computing = call.wall - call.waited
    overlap = 1 if threads else min(width, cores)
    cost = max(computing / overlap, call.wall / width) + (carriage.seconds if carriage else 0.0)
    rounds = native.Rounds(batch, width, cost, share)
    if not rounds.part():
        return None

    started = perf_counter()
    kind = _all_engines.ThreadPoolExecutor if threads else _all_engines.ProcessPoolExecutor
    with kind(width) as pool:
        if threads:
            _meet(pool, width)
        elif (problem := _load(pool, width, fn)) is not None:
            return problem
        start_up = perf_counter() - started
        handout = _handout(pool)
        with noting("in threads" if threads else "in processes"):
            while calls := rounds.part():
                taken = _together(pool, fn, args, calls)
                rounds.took(calls, taken)
                budget.spend(taken, calls)
    seconds = rounds.seconds()
    assert seconds is not None
    return Ran(seconds, width, handout, start_up)


def _together(
    pool: _all_engines.Executor, fn: Callable[..., Any], args: tuple[Any, ...], calls: int
) -> float:
    """Time in seconds from handing out the first of many calls to the last result."""
    start = perf_counter()
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


def _handout(pool: _all_engines.Executor) -> float:
    """Time in seconds that handing out a call costs which does nothing."""
    return min(_together(pool, _nothing, (), _NOTHINGS) for _ in range(2)) / _NOTHINGS


def _nothing() -> None:
    pass
