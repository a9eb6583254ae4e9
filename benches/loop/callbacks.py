"""Measures small programs inside a loop, each loop in a process of its own."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from child import Child, Unable, python
from loop.callback_rows import CallbackRow
from rounds import rotated

# The first run is to be at least so long before it says how often to repeat.
PILOT = 0.02
# How long one run may take.
PATIENCE = 60.0
# A program that measures only moments of its run, between which it waits, may take so many
# times as long as what it measures.
WAITS = 4


@dataclass(frozen=True)
class Timing:
    """One run of a program, in seconds an operation."""

    wall: float
    cpu: float


@dataclass
class CallbackResult:
    """What a row gave: timings by loop, and why a loop has none."""

    row: CallbackRow
    timings: dict[str, list[Timing]] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)


def run(child: Child, count: int) -> tuple[float, float]:
    """Let a child do its program so often: wall time and time on a core.

    Raises:
        Unable: its loop cannot.
    """
    child.tell(count)
    answer = child.answer(PATIENCE)
    return answer["wall"], answer["cpu"]


def fitting(child: Child, step: int, seconds: float) -> int:
    """Find how often the program can be repeated in that time.

    Raises:
        Unable: its loop cannot.
    """
    count = step
    while True:
        begun = time.monotonic()
        wall, _ = run(child, count)
        wall = max(wall, (time.monotonic() - begun) / WAITS)
        if wall >= min(PILOT, seconds):
            return max(step, round(count * seconds / wall / step) * step)
        count *= 4


def measure_row(
    row: CallbackRow, peers: Sequence[str], cores: Sequence[int], rounds: int, seconds: float
) -> CallbackResult:
    """Run a program under every loop in turn, so many times."""
    result = CallbackResult(row)
    cpus = [str(cpu) for cpu in (cores[:1] if row.one_core else cores)]

    def child(peer: str) -> Child:
        return Child(python("loop.perform", peer, row.name, *cpus))

    counts: dict[str, int] = {}
    for turn in range(rounds + 1):
        for peer in rotated([peer for peer in peers if peer not in result.unable], turn):
            # A new process each time, as for servers: see there.
            try:
                with child(peer) as running:
                    if peer not in counts:
                        counts[peer] = fitting(running, row.step, seconds)
                        continue
                    wall, cpu = run(running, counts[peer])
            except Unable as error:
                result.unable[peer] = str(error)
                result.timings.pop(peer, None)
            else:
                timing = Timing(wall / counts[peer], cpu / counts[peer])
                result.timings.setdefault(peer, []).append(timing)
    return result


def measure(
    rows: Sequence[CallbackRow],
    peers: Sequence[str],
    *,
    cores: Sequence[int],
    rounds: int,
    seconds: float,
) -> list[CallbackResult]:
    """Measure rows one after another."""
    results = []
    for row in rows:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        results.append(measure_row(row, peers, cores, rounds, seconds))
    return results
