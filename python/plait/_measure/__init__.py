"""The measured choice: run a function under every engine that can run it, and compare."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

from plait import _all_engines
from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.carriage import Carriage, weigh
from plait._measure.clocks import Clocks
from plait._measure.coroutines import measure_coroutine
from plait._measure.functions import IsCoroutine, Ran, pilot, pooled, serial
from plait._measure.measurement import Figures, Measurement

__all__ = ["Measurement", "measure"]


def measure(
    fn: Callable[..., Any],
    /,
    *args: Any,
    batch: int | None = None,
    budget: float = 1.0,
) -> Measurement:
    """Find out where a function runs best, by running it.

    `fn(*args)` IS CALLED MANY TIMES, also several times at once, and in other processes: it must
    be safe to repeat. First a few calls find out what one costs; then a batch of calls is made
    one after another, in threads and in processes; a coroutine function is awaited one after
    another and all at once on the loop. Pools are started, and warm, before the clock runs.

    Args:
        fn: The function, or coroutine function.
        *args: Its arguments, the same for each call.
        batch: How many calls to compare the engines by ("few or many at once"). By default as
            many as the budget pays for, 4 at least and 1,000 at most.
        budget: About how many seconds to spend in calls of `fn`. A call that has begun is never
            cut short, and starting the pools comes on top. What does not fit is run in part, and
            scaled; what does not fit at all is left out, and missing in `Measurement.seconds`.

    Returns:
        The evidence and the recommendation.

    Raises:
        TypeError: `fn` is not callable, or `batch` is not an integer.
        ValueError: `batch` is less than 1, or `budget` is not a positive number of seconds.
        Exception: Whatever `fn` raises, as it is, with a note on where it was running.
    """
    if not callable(fn):
        raise TypeError(f"plait.measure runs a function; {fn!r} is not callable")
    if batch is not None and not 1 <= (batch := operator.index(batch)) <= _MOST:
        raise ValueError(f"batch must be from 1 to {_MOST} calls, not {batch}")
    if not 0 < budget < float("inf"):
        raise ValueError(f"budget must be a positive number of seconds, not {budget!r}")
    purse = Budget(budget)
    if _is_coroutine_function(fn):
        return _coroutine(fn, args, batch, purse)
    try:
        return _function(fn, args, batch, purse)
    except IsCoroutine:
        # Measured below, outside of this exception: it must not show up as
        # the context of what the coroutine raises.
        pass
    return _coroutine(fn, args, batch, purse)


#: The engines count calls in 32 bits; nobody measures as many.
_MOST = 1_000_000


def _is_coroutine_function(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _function(
    fn: Callable[..., Any], args: tuple[Any, ...], batch: int | None, budget: Budget
) -> Measurement:
    cores = _all_engines.cores()
    first = pilot(fn, args, budget)
    if batch is None:
        batch = native.batch_size(first.call.wall, budget.left, min(2 * cores, 16))
    carriage = weigh(fn, args, first.result)
    seconds, call = serial(fn, args, first, batch, budget)

    outcomes: dict[str, Ran | str | None] = {"thread": None, "process": None}
    # What promises most goes first, should time be short: threads for what waits.
    order = ["thread", "process"] if call.waited > call.cpu else ["process", "thread"]
    if isinstance(carriage, str):
        outcomes["process"] = carriage
        order.remove("process")
    for place, engine in enumerate(order):
        share = budget.share(len(order) - place)
        weight = carriage if engine == "process" and isinstance(carriage, Carriage) else None
        outcomes[engine] = pooled(engine, fn, args, call, batch, budget, share, weight)
    return _conclude(False, batch, seconds, call, outcomes, carriage, budget)


def _coroutine(
    fn: Callable[..., Any], args: tuple[Any, ...], batch: int | None, budget: Budget
) -> Measurement:
    batch, seconds, call, outcome = measure_coroutine(fn, args, batch, budget)
    return _conclude(True, batch, seconds, call, {"loop": outcome}, None, budget)


def _conclude(
    coroutine: bool,
    batch: int,
    serial_seconds: float,
    call: Clocks,
    outcomes: dict[str, Ran | str | None],
    carriage: Carriage | str | None,
    budget: Budget,
) -> Measurement:
    """Have the choice made, and put it together with its evidence."""
    ran = {engine: outcome for engine, outcome in outcomes.items() if isinstance(outcome, Ran)}
    weight = carriage if isinstance(carriage, Carriage) else None
    best, reason = native.choose(
        coroutine=coroutine,
        cores=_all_engines.cores(),
        batch=batch,
        wall=call.wall,
        waited=call.waited,
        serial=serial_seconds,
        trials={
            engine: (outcome.seconds, outcome.width, outcome.handout)
            if isinstance(outcome, Ran)
            else outcome
            for engine, outcome in outcomes.items()
        },
        carriage=(weight.size, weight.seconds) if weight else None,
    )
    return Measurement(
        best=best,
        reason=reason,
        seconds=Figures({"serial": serial_seconds, **{e: run.seconds for e, run in ran.items()}}),
        batch=batch,
        calls=budget.calls,
        wall=call.wall,
        cpu=call.cpu,
        waited=call.waited,
        pickled_bytes=weight.size if weight else None,
        pickle_seconds=weight.seconds if weight else None,
        handout=Figures({engine: run.handout for engine, run in ran.items()}),
        workers=Figures({engine: run.width for engine, run in ran.items()}),
        start_up=Figures({engine: run.start_up for engine, run in ran.items()}),
    )
