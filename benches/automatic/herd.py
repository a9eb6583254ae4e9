"""Calls that a program submits all at once, beside its loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import plait
from automatic.deciding import forget
from automatic.rows import compute, wait
from report import table
from rounds import rotated
from verdict import spread

__all__ = ["report"]

# Seconds between two looks at the clock by the task that tells of stalls.
_TICK = 1e-3

_Start = Callable[[], list[Awaitable[object]]]


class _Herd(NamedTuple):
    title: str
    fn: Callable[..., object]
    argument: float
    many: int

    def on(self, place: Literal["auto", "thread"]) -> list[Awaitable[object]]:
        return [plait.submit(self.fn, self.argument, on=place) for _ in range(self.many)]

    def by_asyncio(self) -> list[Awaitable[object]]:
        return [asyncio.to_thread(self.fn, self.argument) for _ in range(self.many)]


_HERDS = (
    _Herd("100 computations of 7 ms in Python", compute, 100_000, 100),
    _Herd("200 waits of 100 ms", wait, 0.1, 200),
)
_NEW = '`on="auto"`, new'


async def _run(start: _Start) -> tuple[float, float]:
    """Return for how long the loop stood still at most, and how long all took; in seconds."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            now = time.perf_counter()
            longest, last = max(longest, now - last - _TICK), now

    looking = asyncio.create_task(look())
    # It is under way when the calls are submitted.
    await asyncio.sleep(2 * _TICK)
    begun = time.perf_counter()
    await asyncio.gather(*start())
    took = time.perf_counter() - begun
    await asyncio.sleep(2 * _TICK)
    looking.cancel()
    return longest, took


def _measured(herd: _Herd, rounds: int) -> list[list[str]]:
    ways: dict[str, _Start] = {
        _NEW: lambda: herd.on("auto"),
        '`on="auto"`, known': lambda: herd.on("auto"),
        '`on="thread"`': lambda: herd.on("thread"),
        "`asyncio.to_thread`": herd.by_asyncio,
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for start in ways.values():
        plait.run(_run(start))
    for turn in range(rounds):
        for way in rotated(list(ways), turn):
            if way == _NEW:
                forget()
            found[way].append(plait.run(_run(ways[way])))
    return [
        [
            herd.title,
            way,
            spread([1e3 * stall for stall, _ in told]),
            spread([1e3 * took for _, took in told]),
        ]
        for way, told in found.items()
    ]


def report(rounds: int) -> list[str]:
    """Measure them, and return the lines of a report."""
    rows = [row for herd in _HERDS for row in _measured(herd, rounds)]
    return [
        "## Many at once, beside a loop",
        "",
        "Calls that are submitted all at once in a coroutine, by `plait.submit` where the function"
        " is new, where it is known, and to threads, and by `asyncio.to_thread`: for how long the"
        " loop stood still at most (a task looks at the clock every millisecond), and how long all"
        f" took; ms, median [least..most] of {rounds} interleaved rounds in one process.",
        "",
        *table(("calls", "by", "longest stall of the loop", "time"), rows),
    ]
