"""Merge sort in pure Python: computing that holds the interpreter lock."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence
from functools import partial
from time import monotonic

from plait import _all_engines
from plait._tour.advice import NOISE, overlap
from plait._tour.program import Method, Outcome, Program, Run, Track
from plait._units import ratio, seconds_of

__all__ = ["merge_sort", "program"]

#: Lists that are in memory at once: the rest is made when these are done.
_AT_ONCE = 100


def merge_sort(numbers: list[int]) -> list[int]:
    """Sort a list into a new one, by merging its sorted halves."""
    if len(numbers) < 2:
        return numbers[:]
    middle = len(numbers) // 2
    left, right = merge_sort(numbers[:middle]), merge_sort(numbers[middle:])
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if right[j] < left[i]:
            merged.append(right[j])
            j += 1
        else:
            merged.append(left[i])
            i += 1
    return merged + left[i:] + right[j:]


def program(lists: int, numbers: int) -> Program:
    """Make the program: so many lists of so many random integers."""
    cores = _all_engines.cores()
    return Program(
        title=f"Merge sort of {lists:,} lists",
        about=(
            f"{numbers:,} random integers in each, sorted in pure Python; processes get the "
            "lists and give them back."
        ),
        methods=[
            Method("one after another", "serial", partial(_serial, lists, numbers)),
            Method(f"threads ({cores})", "thread", partial(_pooled, lists, numbers, cores)),
            Method(f"processes ({cores})", "process", partial(_pooled, lists, numbers, cores)),
        ],
        advise=_advise,
    )


def _portions(lists: int, numbers: int) -> list[range]:
    return [range(at, min(at + _AT_ONCE, lists)) for at in range(0, lists, _AT_ONCE)]


def _made(seeds: range, numbers: int) -> list[list[int]]:
    """Make the lists; the same ones for every method."""
    made = []
    for seed in seeds:
        source = random.Random(seed)
        made.append([source.randrange(1_000_000_000) for _ in range(numbers)])
    return made


def _serial(lists: int, numbers: int, track: Track) -> Outcome:
    right = 0
    for seeds in _portions(lists, numbers):
        unsorted = _made(seeds, numbers)
        results = []
        with track.timed():
            for seed, one in zip(seeds, unsorted, strict=True):
                with track.spanning("main thread", f"list {seed}"):
                    results.append(merge_sort(one))
        right += _right(unsorted, results)
    return Outcome(f"{right} of {lists} sorted", right == lists)


def _task(numbers: list[int]) -> tuple[list[int], int, int, float, float]:
    start = monotonic()
    result = merge_sort(numbers)
    return result, os.getpid(), threading.get_ident(), start, monotonic()


def _pooled(lists: int, numbers: int, workers: int, track: Track) -> Outcome:
    right = 0
    threads = track.engine == "thread"
    kind = _all_engines.ThreadPoolExecutor if threads else _all_engines.ProcessPoolExecutor
    for seeds in _portions(lists, numbers):
        unsorted = _made(seeds, numbers)
        with track.timed(), kind(workers) as pool:
            answers = list(pool.map(_task, unsorted))
        for seed, (_, process, thread, start, end) in zip(seeds, answers, strict=True):
            track.span(track.lane(thread if threads else process), f"list {seed}", start, end)
        right += _right(unsorted, [answer[0] for answer in answers])
    return Outcome(f"{right} of {lists} sorted", right == lists)


def _right(unsorted: list[list[int]], results: list[list[int]]) -> int:
    pairs = zip(unsorted, results, strict=True)
    return sum(sorted(before) == after for before, after in pairs)


def _advise(runs: Sequence[Run]) -> str:
    serial, threads, processes = runs
    gain = serial.seconds / threads.seconds
    verdict = overlap(runs)
    if verdict.names == [processes.method.name]:
        by_threads = (
            f"threads, at {ratio(gain)}, take turns at the interpreter lock"
            if gain <= 1 + NOISE
            else f"threads ran at {ratio(gain)}"
        )
        return f"{verdict.text} It computes in Python: {by_threads}, processes do not."
    if not verdict.gained and _all_engines.cores() == 1:
        return f"{verdict.text} It computes, and there is one core."
    return (
        f"{verdict.text} One expects processes for what computes in Python; not in this run, "
        f"where {_obstacle(serial, processes)}."
    )


def _obstacle(serial: Run, processes: Run) -> str:
    """Say what kept processes from their speed: busy cores, or their own start."""
    alone, beside = _each(serial), _each(processes)
    if beside > 1.3 * alone:
        return (
            f"a list took {seconds_of(beside)} in a process and {seconds_of(alone)} by itself: "
            "the cores were not free"
        )
    if processes.track is None:
        return "they could not run"
    first = min(span.start for span in processes.track.spans) - processes.track.start
    return f"their first list began after {seconds_of(first)}"


def _each(run: Run) -> float:
    """Seconds that a list took, on average."""
    spans = run.track.spans if run.track else []
    return sum(span.end - span.start for span in spans) / max(len(spans), 1)
