"""From what calls have shown to where the next ones go."""

from __future__ import annotations

from typing import NamedTuple

from plait._measure.estimating import Estimate, estimates
from plait._measure.signals import Signals

__all__ = ["Decision", "Need", "decided"]

# Another place has to be so many times as fast to be changed to: places that are about as fast
# would be changed to and fro.
_BETTER = 1.2
# Threads wait side by side, but not without end.
_THREADS = 256


class Need(NamedTuple):
    """What the calls are that are to come.

    Attributes:
        batch: How many there are, as far as that is known.
        cold: The engines that would have to be started: `"process"`.
        new: Those in which the function was never called, and would warm up anew.
        processes: How many processes there are, or would be.
        barred: Why an engine cannot be taken, as a clause, by its name.
    """

    batch: int
    cold: tuple[str, ...] = ()
    barred: tuple[tuple[str, str], ...] = ()
    new: tuple[str, ...] = ()
    processes: int = 1


class Decision(NamedTuple):
    """Where calls go.

    Attributes:
        method: `"serial"`, `"thread"` or `"process"`.
        width: How many calls to have under way at once.
        chunk: How many to hand out together.
        reason: Why, as a sentence without a capital and a full stop.
        seconds: The estimate for a batch, by method.
    """

    method: str
    width: int
    chunk: int
    reason: str
    seconds: tuple[tuple[str, float], ...]


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
    found = estimates(
        signals,
        need.batch,
        threads=_THREADS,
        processes=need.processes,
        cold=need.cold,
        new=need.new,
        cores=need.processes,
    )
    usable = [one for one in found if one.method not in barred and one.method != "loop"]
    best = usable[0]
    if before is not None and best.method != before.method:
        stays = next((one for one in usable if one.method == before.method), None)
        if stays is not None and _time(stays, need) < _BETTER * _time(best, need):
            best = stays
    width = best.width
    if before is not None and before.method == best.method and width == need.batch < before.width:
        # There are fewer calls left than that; it would be as many if there were more.
        width = before.width
    reason = best.reason
    first = found[0].method
    if first in barred:
        reason = f"{barred[first]}; {reason}" if reason else barred[first]
    seconds = tuple((one.method, _time(one, need)) for one in found)
    return Decision(best.method, width, best.chunk, reason, seconds)


def _time(one: Estimate, need: Need) -> float:
    if one.method in need.cold:
        return one.cold
    return one.seconds + (one.warm_up if one.method in need.new else 0.0)
