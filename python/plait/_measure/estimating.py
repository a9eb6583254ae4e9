"""How long a batch would take on each engine, from signals and the machine's overheads."""

from __future__ import annotations

import os
from dataclasses import dataclass

from plait import _cores
from plait._binding import native
from plait._measure.crowding import Crowd, kept
from plait._measure.machine import TYPICAL, Overheads, known
from plait._measure.signals import Signals

__all__ = ["Estimate", "Estimates", "estimates", "estimates_of", "never_queues", "others", "rivals"]

#: The engines count calls in 32 bits; nobody asks about as many.
_MOST = 1_000_000_000
#: Who computes for so many seconds and never queues for a core has no rivals that count.
_TELLS = 0.1
#: What calls were given counts for as much as the number of their rivals after so many seconds.
_AS_MUCH = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """How one engine would do; times in seconds.

    Attributes:
        method: `"serial"`, `"thread"`, `"process"` or `"loop"`.
        width: How many calls it should have under way at once.
        chunk: How many calls it should hand out together.
        seconds: Time of the whole batch, with the engine started and the function warm.
        warm_up: How much longer it takes where the function is new (an import, a cache).
        start: Time to start the engine.
        memory: Bytes that it takes beyond the program's own.
        reason: One sentence about it, without a capital and a full stop.
    """

    method: str
    width: int
    chunk: int
    seconds: float
    warm_up: float
    start: float
    memory: int
    reason: str

    @property
    def cold(self) -> float:
        """Time of the whole batch in a program that has just begun."""
        return self.seconds + self.warm_up + self.start


@dataclass(frozen=True, slots=True)
class Estimates:
    """The engines that can run the batch, the best one first, and a sentence about each."""

    engines: list[Estimate]
    reasons: dict[str, str]


def estimates(
    signals: Signals,
    batch: int,
    *,
    coroutine: bool = False,
    load: float | None = None,
    threads: int | None = None,
    processes: int | None = None,
    cold: tuple[str, ...] = (),
    new: tuple[str, ...] = (),
    cores: int | None = None,
) -> list[Estimate]:
    """Estimate a batch of calls on each engine that can run it.

    Args:
        signals: What one call costs and does.
        batch: How many calls.
        coroutine: Whether they are coroutines.
        load: How many threads of other programs want a core at any time; None: as many as the
            signals tell of.
        threads: The most threads at once; None: 256.
        processes: The most processes at once, where they wait more than they compute; None: four
            for each core. What computes is given as many as there are cores.
        cold: The methods whose start and warm-up count too when the best is chosen.
        new: The methods whose warm-up alone counts too: their pool is up, the function is new.
        cores: How many cores there are; None: as many as this process may use.

    Returns:
        The estimates, the best one first: the cheapest engine that is as fast as the fastest, but
        for a margin. Then the others, the fastest first.
    """
    # Nothing is measured for it: whoever asks has calls to make.
    cores = _cores.usable() if cores is None else cores
    found = estimates_of(
        signals,
        batch,
        known() or TYPICAL,
        coroutine=coroutine,
        load=load,
        crowd=None if coroutine else kept(signals, others(signals, load, cores), cores),
        threads=threads,
        processes=processes,
        cold=cold,
        new=new,
        cores=cores,
    )
    return found.engines


def estimates_of(
    signals: Signals,
    batch: int,
    costs: Overheads,
    *,
    coroutine: bool = False,
    load: float | None = None,
    crowd: Crowd | None = None,
    threads: int | None = None,
    processes: int | None = None,
    cold: tuple[str, ...] = (),
    new: tuple[str, ...] = (),
    cores: int | None = None,
) -> Estimates:
    """Estimate as `estimates` does, on a machine of such overheads, where a crowd gets so much."""
    cores = _cores.usable() if cores is None else cores
    rows, sentences = native.estimate(
        signals,
        costs,
        batch=min(max(1, batch), _MOST),
        cores=cores,
        others=others(signals, load, cores),
        crowd=crowd,
        coroutine=coroutine,
        threads=256 if threads is None else threads,
        processes=4 * cores if processes is None else processes,
    )
    reasons = dict(sentences)
    found = [Estimate(*row, reasons[row[0]]) for row in rows]

    def counted(one: Estimate) -> float:
        if one.method in cold:
            return one.cold
        return one.seconds + (one.warm_up if one.method in new else 0.0)

    best = native.best_engine([(one.method, counted(one)) for one in found])
    found.sort(key=lambda one: (one.method != best, counted(one)))
    return Estimates(found, reasons)


def others(signals: Signals, load: float | None, cores: int) -> float:
    """Tell how many threads of other programs want a core, by what is known of the load."""
    return max(load or 0.0, rivals(signals, cores))


def rivals(signals: Signals, cores: int) -> float:
    """Tell from what a call has met how many threads of other programs want a core.

    The kernel deals out the cores evenly: with one thread here and `n` elsewhere that never rest,
    the one is given `cores / (n + 1)` of its time. What a few calls were given is a matter of luck:
    beside two programs on two cores, 0.33 to 0.95 in a quarter of a second. How many want a core
    can be counted, which says 2.0 to 2.5 there, but not how much each is given: a program of a low
    priority takes next to nothing. So both count, the share for more the longer it was read.
    """
    running = signals.cpu + signals.queued
    # A few microseconds in the queue happen on every machine.
    queues = running > 0 and signals.queued >= max(0.02 * running, 1e-4)
    read = signals.calls * running
    alone = never_queues(read, signals.calls * signals.queued)
    if signals.rivals is None or cores < _online() or alone:
        return max(0.0, cores * running / max(signals.cpu, 1e-9) - 1) if queues else 0.0
    weight = read / (read + _AS_MUCH)
    given = signals.cpu / running if queues else 1.0
    share = weight * given + (1 - weight) * _usual(signals.rivals, cores)
    return cores / share - 1 if share < 1 else min(signals.rivals, cores - 1.0)


def never_queues(running: float, queued: float) -> bool:
    """Tell whether who has wanted a core for so many seconds has had one, but for a trifle."""
    return running > _TELLS and queued < 0.02 * running


def _usual(count: float, cores: int) -> float:
    """Tell what part of a core one thread has that never rests, beside so many that do not."""
    if count + 1 <= cores:
        return 1.0
    # As the cores are dealt evenly, and as each thread stays on its core: 0.67 and 0.5 beside two
    # on two cores, where batches of 0.3 to 1 s had 0.42 to 0.68.
    return (cores / (count + 1) + cores / (count + cores)) / 2


def _online() -> int:
    # Those that this process may not use are counted for as well.
    return os.sysconf("SC_NPROCESSORS_ONLN")
