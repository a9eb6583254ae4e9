"""Reading the signals of a function, by calling it in the calling thread and nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from statistics import fmean
from time import perf_counter, sleep
from typing import Any

from plait._measure.budget import Budget
from plait._measure.carriage import Carriage, weigh
from plait._measure.figures import Figures
from plait._measure.load import Load
from plait._measure.notes import noting
from plait._measure.peak import Peak
from plait._measure.sampling import Stretches, Watch
from plait._measure.signals import Signals, has_threads

__all__ = ["IsCoroutine", "Read", "read", "rounds_of"]

#: The part of the budget that is spent on the signals, and seconds that are always enough.
_SHARE, _ENOUGH = 0.5, 0.25
#: Seconds of a round: long against the readings around it.
_ROUND = 0.005
#: So many rounds are read where there is time, and more say nothing new.
_MOST = 50
#: So many calls at most: what is called may print, or write, or keep what it is given.
_CALLS = 2_000


class IsCoroutine(Exception):
    """A plain callable turned out to return a coroutine."""


@dataclass(frozen=True, slots=True)
class Read:
    """The signals of a function, and how many cores others kept busy meanwhile."""

    signals: Signals
    load: float | None


def read(fn: Callable[..., Any], args: tuple[Any, ...], budget: Budget) -> Read:
    """Call a function a few times and read what that costs.

    Raises:
        IsCoroutine: It returned a coroutine, which has been closed.
        Exception: Whatever it raises.
    """
    watch, first, rest = Watch(), Stretches(), Stretches()
    load = Load.now()
    with noting("in the calling thread"):
        before = Peak.read()
        with watch.reading(first, 1):
            result = fn(*args)
        after = Peak.read()
        if inspect.iscoroutine(result):
            result.close()
            raise IsCoroutine
        budget.spend(first.spent[0].wall, 1)
        # What carrying it takes is found out before the call is made again, with its own result.
        carriage = weigh(fn, args, result)
        del result
        later = Peak.read()
        for calls in rounds_of(rest, budget):
            with watch.reading(rest, calls):
                for _ in repeat(None, calls):
                    fn(*args)
    memory = after.grown_since(before, later) if before and after and later else None
    sleep(load.soon())
    signals = signals_of(first, rest, carriage, memory)
    return Read(signals, Load.now().since(load))


def rounds_of(rest: Stretches, budget: Budget) -> Iterator[int]:
    """Give the number of calls of each round, for as long as the budget allows.

    The first call may be slow in a way that no other is, so that a second is always made, unless
    the first alone took all of the budget.
    """
    ends = perf_counter() + min(_ENOUGH, budget.left * _SHARE)
    calls = 1
    for number in range(_MOST):
        if budget.left <= 0 or rest.calls >= _CALLS:
            return
        if number and perf_counter() + calls * rest.spent[-1].wall > ends:
            return
        yield calls
        last = rest.spent[-1]
        budget.spend(last.wall * calls, calls)
        # As many as fill a round; the guess grows with what is known.
        calls = max(1, min(int(_ROUND / max(last.wall, 1e-8)), calls * 20, _CALLS - rest.calls))


def signals_of(
    first: Stretches,
    rest: Stretches,
    carriage: Carriage | str | None,
    memory: int | None,
    stepped: float | None = None,
) -> Signals:
    """Put together what was read."""
    read = rest if rest.spent else first
    call = read.typical()
    weight = carriage if isinstance(carriage, Carriage) else None
    has_own = has_threads(call.process_cpu, call.cpu, call.alone)
    rivals = first.rivals if has_own else first.rivals + rest.rivals
    return Signals(
        calls=first.calls + rest.calls,
        first=first.spent[0].wall,
        wall=call.wall,
        cpu=call.cpu,
        queued=call.queued,
        held=read.share_held,
        waits=Figures(read.share_waited),
        argument_bytes=weight.argument_bytes if weight else None,
        result_bytes=weight.result_bytes if weight else None,
        pickle_seconds=weight.seconds if weight else None,
        unpicklable=carriage if isinstance(carriage, str) else None,
        memory=memory,
        process_cpu=call.process_cpu,
        pauses=call.pauses,
        releases=read.release_rate * call.alone,
        rivals=fmean(rivals) if rivals else None,
        stepped=stepped,
    )
