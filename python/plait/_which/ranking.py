"""Which functions are worth handing out: those that calls take most of the time of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plait import _cores
from plait._measure.estimating import Estimate, estimates_of, rivals
from plait._measure.machine import TYPICAL, known
from plait._measure.signals import Signals
from plait._which.record import Record

__all__ = ["Answer", "answers"]

#: The share of the program's time below which a function is not told of, and how many are.
_LEAST = 0.02
_MOST = 5
#: So many functions are estimated at most, those that take the most time.
_LOOKED_AT = 50
#: Of two functions that would save about as much, the caller is taken: fewer, longer calls.
_ABOUT = 0.9


@dataclass(frozen=True, slots=True)
class Answer:
    """A function, what a call of it costs, and how its calls would do on each engine.

    Attributes:
        record: What was noted of it.
        signals: What a call costs.
        estimates: How its calls would do on each engine that can run them, the best one first.
        reasons: A sentence about every engine, also about those that cannot.
    """

    record: Record
    signals: Signals
    estimates: list[Estimate]
    reasons: Mapping[str, str]

    @property
    def best(self) -> Estimate:
        """The engine to use."""
        return self.estimates[0]

    @property
    def now(self) -> float:
        """Seconds of the calls as the program makes them: one after another, but for coroutines."""
        if self.record.is_coroutine:
            return self.record.covered
        return next(one.seconds for one in self.estimates if one.method == "serial")

    @property
    def saved(self) -> float:
        """Seconds that the best engine would save, once it is started."""
        return max(0.0, self.now - self.best.seconds)


def answers(records: Sequence[Record], total: float) -> list[Answer]:
    """Answer for the functions that take the program's time, the most worthwhile first.

    Args:
        records: What was noted of each function.
        total: Seconds that the program's threads ran, together.

    Returns:
        None of two functions of which one is called by the other, and little by others.
    """
    repeated = [one for one in records if one.calls > 1 and one.taken >= _LEAST * total]
    repeated.sort(key=lambda record: -record.taken)
    load = _load(records)
    left = [_answer(record, load) for record in repeated[:_LOOKED_AT]]
    by_code = {id(record.code): record for record in records}
    chosen: list[Answer] = []
    while left and len(chosen) < _MOST:
        most = max(answer.saved for answer in left)
        # What saves nothing is told of by its time.
        worth = [answer for answer in left if answer.saved >= _ABOUT * most]
        best = max(worth, key=lambda answer: answer.record.taken)
        chosen.append(best)
        left = [answer for answer in left if not _related(answer.record, best.record, by_code)]
    return chosen


def _load(records: Sequence[Record]) -> float:
    """Tell how many threads of other programs wanted a core while this one ran.

    It is one figure for all functions, told by those that nobody calls: they ran all the time, and
    what each queued for a core is little more than chance.
    """
    first = [record for record in records if 0 in record.callers]
    if not first:
        return 0.0
    whole = Record(first[0].code)
    for record in first:
        whole.merge(record)
        whole.crowded = record.crowded
    return rivals(whole.signals(), _cores.usable())


def _answer(record: Record, load: float) -> Answer:
    signals = record.signals()
    alone = replace(signals, wall=max(signals.cpu, signals.wall - signals.queued), queued=0.0)
    costs, coroutine = known() or TYPICAL, record.is_coroutine
    found = estimates_of(alone, record.calls, costs, coroutine=coroutine, load=load)
    return Answer(record, signals, found.engines, found.reasons)


def _related(one: Record, other: Record, by_code: dict[int, Record]) -> bool:
    return one is other or _within(one, other, by_code) > 0.5 or _within(other, one, by_code) > 0.5


def _within(inner: Record, outer: Record, by_code: dict[int, Record]) -> float:
    """Return the share of a function's time that was spent in calls of another."""
    target = id(outer.code)
    # Functions call each other in circles: each is asked once on the way.
    asked = {id(inner.code)}

    def share(record: Record) -> float:
        total, found = sum(record.callers.values()), 0.0
        for caller, seconds in record.callers.items():
            if caller == target:
                found += seconds
            elif caller in by_code and caller not in asked:
                asked.add(caller)
                found += seconds * share(by_code[caller])
                asked.discard(caller)
        return found / total if total else 0.0

    return share(inner)
