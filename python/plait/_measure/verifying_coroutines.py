"""Running a coroutine function for real: one call after another, and gathered on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.estimating import Estimate
from plait._measure.notes import noting

__all__ = ["verify_coroutine"]


async def verify_coroutine(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    estimates: list[Estimate],
    batch: int,
    budget: Budget,
) -> dict[str, float | str]:
    """Await the batch one after another, and all at once, as the budget allows.

    Returns:
        The seconds that each took, scaled up where only a part of the batch was run. What there
        was no time for is not in it.
    """
    found: dict[str, float | str] = {}
    for place, estimate in enumerate(estimates):
        at_once = batch if estimate.method == "loop" else 1
        share = budget.share(len(estimates) - place)
        rounds = native.Rounds(batch, at_once, estimate.seconds / batch, share)
        with noting("on the loop, gathered" if at_once > 1 else "on the loop, one after another"):
            while calls := rounds.part():
                taken = await (_together if at_once > 1 else _in_turn)(fn, args, calls)
                rounds.took(calls, taken)
                budget.spend(taken, calls)
        if (seconds := rounds.seconds()) is not None:
            found[estimate.method] = seconds
    return found


async def _in_turn(fn: Callable[..., Any], args: tuple[Any, ...], calls: int) -> float:
    """Time in seconds of many calls, each awaited before the next."""
    start = perf_counter()
    for _ in repeat(None, calls):
        await fn(*args)
    return perf_counter() - start


async def _together(fn: Callable[..., Any], args: tuple[Any, ...], calls: int) -> float:
    """Time in seconds from starting the first of many calls to the end of the last."""
    start = perf_counter()
    tasks = [asyncio.ensure_future(fn(*args)) for _ in range(calls)]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        # The first failure is the answer; nothing of the batch outlives it.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return perf_counter() - start
