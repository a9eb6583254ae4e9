"""The measured choice: what a function costs, and how a batch of it would do on every engine."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

from plait import _all_engines, _cores
from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.cautions import caution
from plait._measure.concluding import conclude
from plait._measure.crowding import measured
from plait._measure.estimating import Estimates, estimates_of, others
from plait._measure.machine import overheads
from plait._measure.measurement import Measurement
from plait._measure.reading import IsCoroutine, Read, read
from plait._measure.reading_coroutines import on_a_loop, read_coroutine
from plait._measure.signals import Signals
from plait._measure.verifying import verify as run_for_real
from plait._measure.verifying_coroutines import verify_coroutine

__all__ = ["Measurement", "Signals", "measure"]

#: The engines count calls in 32 bits; nobody measures as many.
_MOST = 1_000_000


def measure(
    fn: Callable[..., Any],
    /,
    *args: Any,
    batch: int | None = None,
    budget: float = 1.0,
    verify: bool = False,
) -> Measurement:
    """Find out where a function runs best, from what a few calls of it cost.

    `fn(*args)` IS CALLED SEVERAL TIMES, in the calling thread and nowhere else (a coroutine
    function on a loop): it must be safe to repeat. What a call costs and does is read off those
    calls; how long a batch would take one after another, in threads, in processes or on the loop
    is estimated from that and from what each engine costs on this machine. The latter is measured
    once, which takes a second or two, and kept in a file under `~/.cache/plait`.

    Args:
        fn: The function, or coroutine function.
        *args: Its arguments, the same for each call.
        batch: How many calls to compare the methods by ("few or many at once"). By default as
            many as the budget pays for, 4 at least and 1,000 at most.
        budget: About how many seconds to spend in calls of `fn`. A call that has begun is never
            cut short. Without `verify` a quarter of a second is enough, unless two calls take
            longer.
        verify: Also run the batch for real, in threads and processes too, as far as the budget
            goes, and say where that differs from the estimate. `best` then follows the runs.

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
        return _coroutine(fn, args, batch, purse, verify)
    try:
        return _function(fn, args, batch, purse, verify)
    except IsCoroutine:
        # Measured below, outside of this exception: it must not show up as
        # the context of what the coroutine raises.
        pass
    return _coroutine(fn, args, batch, purse, verify)


def _is_coroutine_function(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _function(
    fn: Callable[..., Any], args: tuple[Any, ...], batch: int | None, budget: Budget, verify: bool
) -> Measurement:
    found = read(fn, args, budget)
    size = _size(batch, found, budget, min(2 * _all_engines.cores(), 16))
    estimated = _estimated(found, size, coroutine=False)
    runs = run_for_real(fn, args, estimated.engines, size, budget) if verify else {}
    return conclude(found, estimated, runs, size, budget, caution(fn))


def _coroutine(
    fn: Callable[..., Any], args: tuple[Any, ...], batch: int | None, budget: Budget, verify: bool
) -> Measurement:
    async def run() -> Measurement:
        found = await read_coroutine(fn, args, budget)
        # "Many at once" has to show.
        size = _size(batch, found, budget, 10)
        estimated = _estimated(found, size, coroutine=True)
        engines = estimated.engines
        runs = await verify_coroutine(fn, args, engines, size, budget) if verify else {}
        return conclude(found, estimated, runs, size, budget)

    return on_a_loop(run)


def _size(batch: int | None, found: Read, budget: Budget, least: int) -> int:
    return batch or native.batch_size(found.signals.wall, budget.total, least)


def _estimated(found: Read, batch: int, *, coroutine: bool) -> Estimates:
    signals, load, cores = found.signals, found.load, _cores.usable()
    alone = coroutine or batch == 1
    # The function has been called here, and is new to a pool's workers.
    return estimates_of(
        signals,
        batch,
        overheads(),
        coroutine=coroutine,
        load=load,
        crowd=None if alone else measured(signals, others(signals, load, cores), cores),
        new=("process",),
        cores=cores,
    )
