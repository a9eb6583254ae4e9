"""How much of a busy machine a crowd of threads is given: measured while it is busy.

What is known of the kernel, and why no formula of ours is good enough (sched(7), and sched-eevdf of
the kernel's documentation):

- Cores are dealt to what wants one at the moment. Of threads that share the interpreter lock one
  wants a core at any time. One that computes all the time stays on its core, and shares that with
  whatever else is there. Many take turns: the next one sleeps until it is given the lock, wakes on
  one core or another, and has used little of late, so that it goes before what never rests.
- Where programs are in groups of their own (a container each, a service each, a session each:
  autogroups), cores are dealt to the groups first, on each core by itself. Threads that compute
  without the lock are a crowd to the kernel in the one case, and count as one in the other.

Measured on Linux 6.18 with 2 cores: a thread that holds the lock had 0.62 of a core beside two
programs in groups of their own, two such threads 0.51, thirty 0.93; beside three programs it was
0.47 for any number; beside four 0.38, 0.30 and 0.86. With the programs in the same group it was
0.59, 0.80 and 0.83 beside two, 0.33, 0.41 and 0.58 beside four.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

from plait._measure.keeping import read_json, write_json
from plait._measure.machine import cache_file, identity
from plait._measure.signals import Signals

__all__ = ["Crowd", "kept", "measured"]

#: Seconds that a crowd computes for. Beside two programs a crowd at the lock was seen to have 0.65
#: to 0.97 of a core in 0.2 s, and 0.9 to 1.0 in twice that: its threads begin behind all others.
_LONG = 0.4
#: Threads take turns of 5 ms at the lock: so many have all of the gain that there is.
_THREADS = 32
#: Seconds for threads to start in.
_PATIENCE = 5.0
#: Below this share of a core for one thread the machine is busy.
_BUSY = 0.9
#: Seconds for which what was measured in another program is good: those beside it come and go.
_LASTS = 600.0
#: What was measured beside so many times as many others, or as few, was another load.
_ALIKE = 2.0
#: What waits for more than this share of its time is no crowd that computes.
_WAITS = 0.1


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd of threads was given of a busy machine.

    Attributes:
        threads: How many there were.
        locked: Cores' worth of time that they had computing with the interpreter lock, in turns;
            None if that was not measured.
        free: The same without the lock, all at once.
    """

    threads: int
    locked: float | None = None
    free: float | None = None


def measured(signals: Signals, others: float, cores: int) -> Crowd | None:
    """Measure what a crowd gets that computes as the calls do; keep it for other programs.

    Of what was measured before beside as many others half counts: beside two programs the same
    crowd was seen to have 0.7 of a core and 1.2 one after the other, as the cores happened to fall.

    That takes 0.4 s, or twice that where they hold the interpreter lock: processes are a
    crowd without it. Nothing is measured where it would tell nothing of the calls: on a machine
    that is not busy, and where they wait.

    Args:
        signals: What one call costs and does.
        others: How many threads of other programs want a core.
        cores: How many cores there are.
    """
    if not _counts(signals, others, cores):
        return None
    threads = max(_THREADS, 2 * cores)
    locked = _given(_with_the_lock, threads) if _holds(signals) else None
    free = _given(_without_the_lock, threads)
    found = Crowd(
        threads,
        None if locked is None else min(1.0, locked),
        None if free is None else min(float(cores), free),
    )
    return _fitting(signals, _keep(found, others, cores))


def kept(signals: Signals, others: float, cores: int) -> Crowd | None:
    """Return what was measured of late on this busy machine; nothing is measured."""
    if not _counts(signals, others, cores):
        return None
    found = _checked(_all_kept().get(_key(cores)), others, cores)
    return None if found is None else _fitting(signals, found)


def _fitting(signals: Signals, crowd: Crowd) -> Crowd:
    # Who does not hold the lock does not wait for it, whatever a crowd got that did.
    return crowd if _holds(signals) else replace(crowd, locked=None)


def _counts(signals: Signals, others: float, cores: int) -> bool:
    """Tell whether what a crowd gets makes a difference to calls like these."""
    alone = max(signals.wall - signals.queued, signals.cpu)
    return cores / (others + 1) < _BUSY and signals.waited <= _WAITS * alone


def _holds(signals: Signals) -> bool:
    # What is not known is taken for Python code, which does.
    return signals.held is None or signals.held >= 0.5


def _given(work: Callable[[], object], threads: int) -> float | None:
    """Have threads compute; return how many cores' worth of time they had, None if it failed."""
    times: list[float] = []
    until = 0.0

    def begin() -> None:
        nonlocal until
        until = time.perf_counter() + _LONG

    gate = Barrier(threads, begin)

    def compute() -> None:
        try:
            gate.wait(_PATIENCE)
        except BrokenBarrierError:
            return
        begun = time.thread_time()
        while time.perf_counter() < until:
            work()
        times.append(time.thread_time() - begun)

    crowd: list[Thread] = []
    try:
        for _ in range(threads):
            thread = Thread(target=compute, name="plait-measure", daemon=True)
            thread.start()
            crowd.append(thread)
    except RuntimeError:
        # There may be no more threads: those that wait for the others need not.
        gate.abort()
    for thread in crowd:
        thread.join()
    return sum(times) / _LONG if len(times) == threads and sum(times) > 0 else None


def _with_the_lock() -> None:
    total = 0
    for step in range(2_000):
        total += step


#: As large as it takes for the interpreter lock to be let go of, and for that to be seldom.
_BUFFER = bytes(1 << 18)


def _without_the_lock() -> None:
    hashlib.sha256(_BUFFER).digest()


def _key(cores: int) -> str:
    return f"{cores} cores"


def _path() -> str:
    return cache_file("crowds")


def _all_kept() -> dict[str, Any]:
    told = read_json(_path())
    if not isinstance(told, dict) or told.get("identity") != identity():
        return {}
    crowds = told.get("crowds")
    return crowds if isinstance(crowds, dict) else {}


def _checked(told: Any, others: float, cores: int) -> Crowd | None:
    """Make of what a file says what it should be; None if it is old or makes no sense.

    So it is where the machine was busier by far than beside so many others, or less so.
    """
    if not isinstance(told, dict):
        return None
    threads, at = told.get("threads"), told.get("at")
    if type(threads) is not int or not 2 <= threads < 10_000:
        return None
    if type(at) is not float or not 0 <= time.time() - at <= _LASTS:
        return None
    beside = told.get("others")
    if type(beside) is not float or not beside <= _ALIKE * others <= _ALIKE**2 * beside:
        return None
    shares = {"locked": (told.get("locked"), 1), "free": (told.get("free"), cores)}
    for given, most in shares.values():
        if given is not None and not (type(given) is float and 0 < given <= most):
            return None
    return Crowd(threads, **{name: given for name, (given, _) in shares.items()})


def _keep(found: Crowd, others: float, cores: int) -> Crowd:
    """Note a measurement; return it together with the one before."""
    crowds = _all_kept()
    before = _checked(crowds.get(_key(cores)), others, cores)
    if before is not None:
        locked = _together(before.locked, found.locked)
        found = Crowd(found.threads, locked, _together(before.free, found.free))
    crowds[_key(cores)] = {**asdict(found), "others": float(others), "at": time.time()}
    write_json(_path(), {"identity": identity(), "crowds": crowds})
    return found


def _together(*figures: float | None) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return fmean(known) if known else None
