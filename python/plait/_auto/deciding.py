"""From what calls have shown to where the next ones go."""

from __future__ import annotations

from typing import NamedTuple

from plait._measure.estimating import Estimate, estimates
from plait._measure.signals import Signals

__all__ = ["Decision", "Need", "decided", "waits"]

# Another place has to be so many times as fast to be changed to: places that are about as fast
# would be changed to and fro.
_BETTER = 1.2
# Calls wait whose waiting is so much of their time: many threads, and more processes than there
# are cores, are worth their memory.
_WAITING = 0.2
# Threads wait side by side, but not without end.
_THREADS = 256


class Need(NamedTuple):
    """What the calls are that are to come.

    Attributes:
        batch: How many there are, as far as that is known.
        cold: The engines that would have to be started: `"process"`.
        new: Those in which the function was never called, and would warm up anew.
        processes: How many processes there are, or would be.
        wide: How many there may be for calls that wait as well; 0: no more than those.
        is_wide_up: Whether they are up.
        barred: Why an engine cannot be taken, as a clause, by its name.
    """

    batch: int
    cold: tuple[str, ...] = ()
    barred: tuple[tuple[str, str], ...] = ()
    new: tuple[str, ...] = ()
    processes: int = 1
    wide: int = 0
    is_wide_up: bool = False


class Decision(NamedTuple):
    """Where calls go.

    Attributes:
        method: `"serial"`, `"thread"` or `"process"`.
        width: How many calls to have under way at once.
        chunk: How many to hand out together.
        reason: Why, as a sentence without a capital and a full stop.
        seconds: The estimate for a batch, by method.
        wants_more: Whether it would be more processes, if they were up.
    """

    method: str
    width: int
    chunk: int
    reason: str
    seconds: tuple[tuple[str, float], ...]
    wants_more: bool = False


def decided(
    signals: Signals, need: Need, *, process: str | None = None, before: Decision | None = None
) -> Decision:
    """Choose by the estimates.

    Args:
        signals: what calls have shown.
        need: what calls are to come.
        process: why processes cannot be taken, as a clause about the function.
        before: what was decided before.

    """
    barred = dict(need.barred)
    if process is not None:
        barred["process"] = process
    found = _estimates(signals, need, need.processes)
    wants_more = False
    if need.wide > need.processes and waits(signals):
        more = _estimates(signals, need, need.wide)
        gains = more[0].method == "process" and more[0].width > need.processes
        stay = before is not None and before.method == "process" and before.width > need.processes
        if gains and (1 if stay else _BETTER) * _time(more[0], need) < _time(found[0], need):
            found = more if need.is_wide_up else found
            wants_more = not need.is_wide_up and "process" not in barred
    usable = [one for one in found if one.method not in barred and one.method != "loop"]
    best, stays = usable[0], False
    if before is not None and best.method != before.method:
        other = next((one for one in usable if one.method == before.method), None)
        # What is left of a map is too little to move for.
        few = need.batch < before.width
        if other is not None and (few or _time(other, need) < _BETTER * _time(best, need)):
            best, stays = other, True
    width, reason = best.width, best.reason
    same = before is not None and before.method == best.method
    chunks = -(-need.batch // best.chunk)
    if before is not None and same and width == chunks < before.width:
        # There are fewer calls left than that; it would be as many if there were more.
        width, stays = before.width, True
    first = found[0].method
    if before is not None and stays:
        # What would be said of the few that are left is not why it is so.
        reason = before.reason
    elif first in barred:
        reason = f"{barred[first]}; {reason}" if reason else barred[first]
    seconds = tuple((one.method, _time(one, need)) for one in found)
    return Decision(best.method, width, best.chunk, reason, seconds, wants_more)


def waits(signals: Signals) -> bool:
    """Whether calls wait for a part of their time that counts."""
    return signals.waited > _WAITING * signals.wall


def _estimates(signals: Signals, need: Need, processes: int) -> list[Estimate]:
    return estimates(
        signals,
        need.batch,
        threads=_THREADS,
        processes=processes,
        cold=need.cold,
        new=need.new,
        cores=need.processes,
    )


def _time(one: Estimate, need: Need) -> float:
    if one.method in need.cold:
        return one.cold
    return one.seconds + (one.warm_up if one.method in need.new else 0.0)
