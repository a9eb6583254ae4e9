"""Has each row chosen for and run, one row after another."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from child import Child, Unable, python
from choice.methods import LOOP, PROCESS, SERIAL, THREAD, named
from choice.rows import Row

# How long one step of a row may take, in seconds.
PATIENCE = 180.0
MEASURE, AUTO = "measure", "auto"
CHOOSERS = (MEASURE, AUTO)
CORES = len(os.sched_getaffinity(0))
# What `concurrent.futures` takes for threads when it is not told.
USUAL_THREADS = min(32, CORES + 4)
MANY_THREADS = 32
# So many times as many threads, or as few, are about as many.
ALIKE = 1.25


@dataclass
class Result:
    """What was chosen for a row, by whom, and how long each way took."""

    row: Row
    batch: int
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    # By `methods.named`.
    times: dict[str, list[float]] = field(default_factory=dict)
    # Why a method cannot run it, and a chooser cannot say.
    unable: dict[str, str] = field(default_factory=dict)


def ways(
    row: Row, batch: int, chosen: Iterable[Mapping[str, Mapping[str, int]]]
) -> list[tuple[str, int]]:
    """List what is run: each method, threads and processes by more than one number.

    Args:
        row: it says whether there are coroutines.
        batch: more than these are never at once.
        chosen: what choosers said, with the numbers that they would take.
    """
    if row.coroutine:
        return [(SERIAL, 1), (LOOP, batch)]
    # One thread is serial by another name, and one more chance for noise to look fast.
    numbers = [each.get("workers", {}) for each in chosen]
    threads = {min(max(2, each[THREAD]), batch) for each in numbers if THREAD in each}
    threads.add(min(USUAL_THREADS, batch))
    many = min(MANY_THREADS, batch)
    # So are about as many as were chosen.
    if not any(many <= ALIKE * each <= ALIKE**2 * many for each in threads):
        threads.add(many)
    processes = {each[PROCESS] for each in numbers if PROCESS in each} | {CORES}
    return [
        (SERIAL, 1),
        *((THREAD, width) for width in sorted(threads)),
        *((PROCESS, width) for width in sorted({min(width, batch) for width in processes})),
    ]


def _step(step: str, row: Row, batch: int, **options: Any) -> Any:
    command = python("choice.perform", step, row.name, str(batch), json.dumps(options))
    with Child(command) as running:
        found = running.answer(PATIENCE)
        running.finish()
    return found


def measure_row(row: Row, *, rounds: int, part: int, told: bool) -> Result:
    """Have it chosen for, then run it in every way; `part` divides the batch."""
    result = Result(row, max(2, row.batch // part))
    for chooser in CHOOSERS:
        try:
            result.chosen[chooser] = _step(chooser, row, result.batch, told=told)
        except Unable as error:
            result.unable[chooser] = str(error)
    try:
        every = ways(row, result.batch, result.chosen.values())
        ran = _step("run", row, result.batch, ways=every, rounds=rounds)
    except Unable as error:
        result.unable["run"] = str(error)
    else:
        result.times = ran["times"]
        result.unable |= ran["cannot"]
    return result


def measure(rows: Sequence[Row], *, rounds: int, part: int, told: bool) -> list[Result]:
    """Do row after row."""
    results = []
    for row in rows:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        results.append(measure_row(row, rounds=rounds, part=part, told=told))
    return results


def chosen_way(result: Result, chooser: str) -> str | None:
    """Name the way that a chooser took; None where it has said nothing."""
    found = result.chosen.get(chooser)
    if found is None:
        return None
    method = found["choice"]
    usual = {THREAD: USUAL_THREADS, PROCESS: CORES}.get(method, 1)
    width = found.get("workers", {}).get(method, usual)
    # One thread is serial by another name, which is not run twice.
    method = SERIAL if (method, width) == (THREAD, 1) else method
    return named(method, min(width, result.batch))
