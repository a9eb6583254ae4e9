"""Delayed messages: one after another they take the sum of their delays, together the longest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial
from time import monotonic

from plait import _all_engines
from plait._tour.advice import overlap
from plait._tour.program import Method, Outcome, Program, Run, Track
from plait._units import seconds_of

__all__ = ["program"]

#: Seconds.
_DELAYS = (2.0, 3.0)


def program(scale: float) -> Program:
    """Make the program; its delays are multiplied by `scale`."""
    delays = [delay * scale for delay in _DELAYS]
    named = " and ".join(seconds_of(delay) for delay in delays)
    return Program(
        title="Delayed messages",
        about=f"Two messages, due after {named}.",
        methods=[
            Method("one after another", "serial", partial(_serial, delays)),
            Method("threads", "thread", partial(_threads, delays)),
            Method("coroutines", "loop", partial(_coroutines, delays)),
        ],
        advise=partial(_advise, delays),
    )


def _delivered(sent: list[float], delays: list[float]) -> Outcome:
    right = sorted(sent) == sorted(delays)
    return Outcome(f"{len(sent)} of {len(delays)} delivered", right)


def _serial(delays: list[float], track: Track) -> Outcome:
    sent = []
    with track.timed():
        for delay in delays:
            with track.spanning("main thread", f"message after {seconds_of(delay)}"):
                time.sleep(delay)
                sent.append(delay)
    return _delivered(sent, delays)


def _threads(delays: list[float], track: Track) -> Outcome:
    def message(delay: float) -> tuple[float, int, float, float]:
        start = monotonic()
        time.sleep(delay)
        return delay, threading.get_ident(), start, monotonic()

    with track.timed(), _all_engines.ThreadPoolExecutor(len(delays)) as pool:
        sent = list(pool.map(message, delays))
    for delay, thread, start, end in sent:
        track.span(track.lane(thread), f"message after {seconds_of(delay)}", start, end)
    return _delivered([delay for delay, _, _, _ in sent], delays)


def _coroutines(delays: list[float], track: Track) -> Outcome:
    sent: list[float] = []

    async def message(number: int, delay: float) -> None:
        with track.spanning(f"coroutine {number}", f"message after {seconds_of(delay)}"):
            await asyncio.sleep(delay)
            sent.append(delay)

    async def main() -> None:
        with track.timed():
            async with asyncio.TaskGroup() as group:
                for number, delay in enumerate(delays, 1):
                    group.create_task(message(number, delay))

    _all_engines.run(main())
    return _delivered(sent, delays)


def _advise(delays: list[float], runs: Sequence[Run]) -> str:
    verdict = overlap(runs)
    if not verdict.gained:
        return verdict.text
    return (
        f"{verdict.text} Waiting overlaps: together they take as long as the longest "
        f"({seconds_of(max(delays))}), not as their sum ({seconds_of(sum(delays))})."
    )
