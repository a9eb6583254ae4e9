"""One blocking call among five coroutines, which stops them all; and the cure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from time import monotonic

from plait import _all_engines
from plait._tour.program import Method, Outcome, Program, Run, Track
from plait._units import seconds_of

__all__ = ["program"]

_COROUTINES = 5
_STEPS = 4
#: Seconds, before scaling: what each step awaits, and how long the one call blocks.
_STEP, _BLOCK = 0.5, 2.0
#: Seconds between two ticks of the coroutine that watches.
_TICK = 0.005


def program(scale: float) -> Program:
    """Make the program; its times are multiplied by `scale`."""
    block = _BLOCK * scale
    return Program(
        title="One blocking call among five",
        about=(
            f"One of five coroutines calls time.sleep for {seconds_of(block)}; a sixth ticks every "
            f"{seconds_of(_TICK)} and sees how long the loop stands still."
        ),
        methods=[
            Method("all of them await", "loop", partial(_run, scale, "await")),
            Method("one blocks the loop", "loop", partial(_run, scale, "block")),
            Method("the call in a thread", "loop", partial(_run, scale, "thread")),
        ],
        advise=partial(_advise, block),
    )


def _run(scale: float, how: str, track: Track) -> Outcome:
    gaps: list[float] = []
    finished: list[int] = []

    async def tick() -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            gaps.append(now - last)
            late = now - last > 4 * _TICK
            label = "no tick" if late else "tick"
            track.span("ticker", label, last, now, "waiting" if late else None)
            last = now

    async def sleeper(number: int, pool: _all_engines.Executor) -> None:
        lane = f"coroutine {number}"
        for step in range(1, _STEPS + 1):
            if number == 3 and step == 2:
                await pause(lane, pool)
            with track.spanning(lane, f"await {step}"):
                await asyncio.sleep(_STEP * scale)
        finished.append(number)

    async def pause(lane: str, pool: _all_engines.Executor) -> None:
        block = _BLOCK * scale
        if how == "await":
            with track.spanning(lane, "asyncio.sleep"):
                await asyncio.sleep(block)
        elif how == "block":
            with track.spanning(lane, "time.sleep", "stalled"):
                time.sleep(block)  # noqa: ASYNC251 - the mistake that is shown
        else:
            with track.spanning(lane, "time.sleep in a thread", "thread"):
                await asyncio.get_running_loop().run_in_executor(pool, time.sleep, block)

    async def main() -> None:
        with track.timed(), _all_engines.ThreadPoolExecutor(1) as pool:
            ticker = asyncio.create_task(tick())
            async with asyncio.TaskGroup() as group:
                for number in range(1, _COROUTINES + 1):
                    group.create_task(sleeper(number, pool))
            ticker.cancel()
            await asyncio.wait([ticker])

    _all_engines.run(main())
    gap = max(gaps)
    return Outcome(f"gap {seconds_of(gap)}", len(finished) == _COROUTINES, gap)


def _advise(block: float, runs: Sequence[Run]) -> str:
    quiet, blocked, cured = (run.outcome.figure if run.outcome else 0.0 for run in runs)
    gaps = (
        f"the loop stood still for {seconds_of(blocked)} where one call blocked it, for "
        f"{seconds_of(cured)} with that call in a thread"
    )
    if blocked >= 0.8 * block and cured < blocked / 2:
        return (
            f"Call what blocks in a thread (asyncio.to_thread): {gaps} "
            f"({seconds_of(quiet)} with none). One blocking call stops every coroutine."
        )
    none = f"{seconds_of(quiet)} with none"
    return f"This run does not show the stall that one expects: {gaps} ({none})."
