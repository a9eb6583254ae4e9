"""Measuring a coroutine function: one after another, and gathered on the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

from plait import _all_engines
from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.clocks import Clocks
from plait._measure.functions import Ran
from plait._measure.notes import noting

__all__ = ["measure_coroutine"]

T = TypeVar("T")

#: No-op tasks that the loop is timed with.
_NOTHINGS = 200
#: The fewest calls in a batch of the default size: "many at once" has to show.
_LEAST = 10


def measure_coroutine(
    fn: Callable[..., Any], args: tuple[Any, ...], batch: int | None, budget: Budget
) -> tuple[int, float, Clocks, Ran | None]:
    """Await the batch one after another, then gathered.

    Returns:
        The size of the batch, the time in seconds that it took one after another, the clocks of
        one call, and how it went on the loop (None if there was no time for it).
    """

    async def run() -> tuple[int, float, Clocks, Ran | None]:
        first = await _pilot(fn, args, budget)
        size = batch or native.batch_size(first.wall, budget.left, _LEAST)
        seconds, call = await _serial(fn, args, first, size, budget)
        return size, seconds, call, await _gathered(fn, args, call, size, budget)

    return _run(run)


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a loop of its own, also where this thread's loop is running already."""
    if asyncio._get_running_loop() is None:
        return _all_engines.run(main())
    outcome: list[T] = []
    problem: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(_all_engines.run(main()))
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=body, name="plait.measure")
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return outcome[0]


async def _pilot(fn: Callable[..., Any], args: tuple[Any, ...], budget: Budget) -> Clocks:
    enough = budget.left / 20
    spent, best = 0.0, None
    with noting("on the loop, one after another"):
        for _ in range(4):
            start = Clocks.now()
            await fn(*args)
            call = Clocks.now() - start
            budget.spend(call.wall, 1)
            spent += call.wall
            best = call if best is None or call.wall < best.wall else best
            if spent >= enough:
                break
    assert best is not None
    return best


async def _serial(
    fn: Callable[..., Any], args: tuple[Any, ...], first: Clocks, batch: int, budget: Budget
) -> tuple[float, Clocks]:
    """Await each call before the next; the time of the batch, and the clocks of one call."""
    runs: list[Clocks] = []
    rounds = native.Rounds(batch, 1, first.wall, budget.share(2))
    with noting("on the loop, one after another"):
        while calls := rounds.part():
            start = Clocks.now()
            for _ in range(calls):
                await fn(*args)
            spent = Clocks.now() - start
            rounds.took(calls, spent.wall)
            budget.spend(spent.wall, calls)
            runs.append(spent / calls)
    seconds = rounds.seconds()
    if seconds is None:
        return first.wall * batch, first
    return seconds, min(runs, key=lambda call: call.wall)


async def _gathered(
    fn: Callable[..., Any], args: tuple[Any, ...], call: Clocks, batch: int, budget: Budget
) -> Ran | None:
    """Await all calls of the batch at once."""
    # Nothing is known yet about what it does while it waits: that may block the loop, but then
    # one wave was all.
    cost = max(call.wall - call.waited, call.wall / batch)
    rounds = native.Rounds(batch, batch, cost, budget.share(1))
    if not rounds.part():
        return None
    handout = await _together(_nothing, (), _NOTHINGS) / _NOTHINGS
    with noting("on the loop, gathered"):
        while calls := rounds.part():
            taken = await _together(fn, args, calls)
            rounds.took(calls, taken)
            budget.spend(taken, calls)
    seconds = rounds.seconds()
    assert seconds is not None
    return Ran(seconds, batch, handout, 0.0)


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


async def _nothing() -> None:
    pass
