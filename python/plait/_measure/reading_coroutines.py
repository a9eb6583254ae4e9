"""Reading the signals of a coroutine function, on a loop of its own."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from itertools import repeat
from time import perf_counter
from typing import Any, TypeVar

from plait import _all_engines
from plait._measure.budget import Budget
from plait._measure.load import Load
from plait._measure.notes import noting
from plait._measure.peak import Peak
from plait._measure.reading import Read, rounds_of, signals_of
from plait._measure.sampling import Stretches, Watch

__all__ = ["on_a_loop", "read_coroutine"]

T = TypeVar("T")


async def read_coroutine(fn: Callable[..., Any], args: tuple[Any, ...], budget: Budget) -> Read:
    """Await a coroutine function a few times, one after another, and read what that costs."""
    watch, first, rest = Watch(), Stretches(), Stretches()
    first_steps, steps = [0.0], []
    load = Load.now()
    with noting("on the loop, one after another"):
        before = Peak.read()
        with watch.reading(first, 1):
            await _stepped(_awaiting(fn(*args)), first_steps)
        after = Peak.read()
        budget.spend(first.spent[0].wall, 1)
        for calls in rounds_of(rest, budget):
            round_steps = [0.0]
            with watch.reading(rest, calls):
                for _ in repeat(None, calls):
                    await _stepped(_awaiting(fn(*args)), round_steps)
            steps.append(round_steps[0] / calls)
    memory = after.grown_since(before, after) if before and after else None
    await asyncio.sleep(load.soon())
    stepped = _standing(rest, steps) if steps else _standing(first, first_steps)
    return Read(signals_of(first, rest, None, memory, stepped), Load.now().since(load))


def _standing(read: Stretches, steps: list[float]) -> float:
    """Return the seconds of a typical call in which the loop stood still.

    The share is that of the fastest round, which nothing disturbed: elsewhere the queue for a core
    may have made longer what stands, or what waits.
    """
    rounds = list(zip(read.spent, steps, strict=True))
    fastest, stood = min(rounds, key=lambda one: one[0].wall)
    return read.typical().alone * min(1.0, stood / max(fastest.wall, 1e-9))


async def _awaiting(thing: Awaitable[T]) -> T:
    """Make of anything that can be awaited something that can be stepped."""
    return await thing


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, T], seconds: list[float]) -> Generator[Any, Any, T]:
    """Await a coroutine, and add up the time of its steps, in which the loop stands still."""
    value: Any = None
    problem: BaseException | None = None
    try:
        while True:
            start = perf_counter()
            try:
                awaited = coroutine.send(value) if problem is None else coroutine.throw(problem)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                seconds[0] += perf_counter() - start
            value = problem = None
            try:
                value = yield awaited
            except GeneratorExit:
                raise
            except BaseException as error:
                problem = error
    finally:
        coroutine.close()


def on_a_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
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
