"""Read, sleep, update: the classic race, which loses an update."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import monotonic

from plait import _all_engines
from plait._tour.program import Method, Outcome, Program, Run, Track
from plait._units import seconds_of

__all__ = ["program"]

_UPDATES = 2
#: Seconds between reading and writing, before scaling.
_SLEEP = 1.0


class _Database:
    """A value that is updated by reading it, thinking, and writing it."""

    def __init__(self) -> None:
        self.value = 0


def program(scale: float) -> Program:
    """Make the program; its sleep is multiplied by `scale`."""
    pause = _SLEEP * scale
    return Program(
        title="Read, sleep, update",
        about=(
            f"Two tasks each read a value, sleep for {seconds_of(pause)} and write it plus one: "
            "2 if no update is lost."
        ),
        methods=[
            Method("one after another", "serial", partial(_serial, pause)),
            Method("threads", "thread", partial(_threads, pause, False)),
            Method("threads and a lock", "thread", partial(_threads, pause, True)),
            Method("coroutines, awaiting between", "loop", partial(_coroutines, pause, "between")),
            Method("coroutines and a lock", "loop", partial(_coroutines, pause, "lock")),
            Method("coroutines, awaiting before", "loop", partial(_coroutines, pause, "before")),
        ],
        advise=_advise,
    )


def _final(database: _Database, safe: bool) -> Outcome:
    # Whether a race is lost is for the scheduler to say, so there is nothing
    # to check: the value is reported as it was seen.
    right = database.value == _UPDATES if safe else None
    return Outcome(f"final value {database.value}", right, float(database.value))


def _serial(pause: float, track: Track) -> Outcome:
    database = _Database()
    with track.timed():
        for number in range(1, _UPDATES + 1):
            with track.spanning("main thread", f"update {number}"):
                value = database.value
                time.sleep(pause)
                database.value = value + 1
    return _final(database, safe=True)


def _threads(pause: float, locked: bool, track: Track) -> Outcome:
    database = _Database()
    lock: AbstractContextManager[object] = threading.Lock() if locked else nullcontext()

    def update(number: int) -> tuple[int, float, float, float]:
        asked = monotonic()
        with lock:
            start = monotonic()
            value = database.value
            time.sleep(pause)
            database.value = value + 1
            return threading.get_ident(), asked, start, monotonic()

    with track.timed(), _all_engines.ThreadPoolExecutor(_UPDATES) as pool:
        times = list(pool.map(update, range(1, _UPDATES + 1)))
    for number, (thread, asked, start, end) in enumerate(times, 1):
        lane = track.lane(thread)
        if locked:
            track.span(lane, "waiting for the lock", asked, start, "waiting")
        track.span(lane, f"update {number}", start, end)
    return _final(database, safe=locked)


def _coroutines(pause: float, how: str, track: Track) -> Outcome:
    database = _Database()

    async def unlocked(number: int) -> None:
        with track.spanning(f"coroutine {number}", f"update {number}"):
            if how == "before":
                await asyncio.sleep(pause)
                database.value = database.value + 1
            else:
                value = database.value
                await asyncio.sleep(pause)
                database.value = value + 1

    async def locked(number: int, lock: asyncio.Lock) -> None:
        with track.spanning(f"coroutine {number}", "waiting for the lock", "waiting"):
            await lock.acquire()
        try:
            await unlocked(number)
        finally:
            lock.release()

    async def main() -> None:
        lock = asyncio.Lock()
        with track.timed():
            async with asyncio.TaskGroup() as group:
                for number in range(1, _UPDATES + 1):
                    work = locked(number, lock) if how == "lock" else unlocked(number)
                    group.create_task(work)

    _all_engines.run(main())
    return _final(database, safe=how != "between")


def _advise(runs: Sequence[Run]) -> str:
    _, threads, locked, between, _, before = runs
    values = [int(run.outcome.figure) if run.outcome else 0 for run in runs]
    seen = f"threads ended at {values[1]}, with a lock at {values[2]}"
    loop = f"coroutines that await between reading and writing at {values[3]}"
    if values[1] == _UPDATES and values[3] == _UPDATES:
        return f"No update was lost in this run ({seen}; {loop}): it is luck, take a lock."
    return (
        f"Take a lock, or let no await come between reading and writing: {seen} "
        f"({seconds_of(locked.seconds)} instead of {seconds_of(threads.seconds)}); {loop} "
        f"({seconds_of(between.seconds)}), with none between at {values[5]} "
        f"({seconds_of(before.seconds)})."
    )
