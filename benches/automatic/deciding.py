"""What a decision costs, added up where it arises: clocks around batches tell of their noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any
from unittest import mock

import plait
from automatic.rows import Row, noted
from plait._auto import calling, first_calls, mapping, record, records
from plait._auto.analysis import Analysis
from plait._auto.measuring import observed as original
from plait._engines.thread import ThreadEngine

original_decide = record.Record.decide

__all__ = ["PARTS", "forget", "parts_of"]

#: What there is to do, beside the function's own calls.
PARTS = ("reading", "looking", "deciding", "delay")


def forget() -> None:
    """Have every function be unknown."""
    records._records.clear()
    records._by_code.clear()


def parts_of(row: Row) -> dict[str, float]:
    """Run a batch of a function that is new; return the seconds that each part took.

    `reading` is that of its code; `looking`, what surrounds a measured call; `deciding`, the
    estimates and what they need; `delay`, for how long calls had been made when it was decided
    where to make them, less the time in which as much is done where the function is known.
    """
    forget()
    found = dict.fromkeys(PARTS, 0.0)
    calls, decided = _run(row, found)
    known = records.record_of(row.fn)[0]
    decision = known.decision
    if decision is not None and decided:
        early = [(begun, min(ended, decided[0])) for begun, ended in calls if begun < decided[0]]
        done = sum(ended - begun for begun, ended in early)
        later, _ = _run(row, dict.fromkeys(PARTS, 0.0))
        if decision.method == "thread" and len(later) >= len(row.items):
            took = _until(later, done)
        else:
            # What processes do is not seen here: by the estimate.
            seconds = dict(decision.seconds)
            took = done * min(1.0, seconds[decision.method] / seconds["serial"])
        found["delay"] = max(0.0, _covered(early) - took)
    return found


def _run(row: Row, found: dict[str, float]) -> tuple[list[tuple[float, float]], list[float]]:
    """Run a batch; return when the calls in this process began and ended; when was decided."""
    noted.clear()
    calls: list[tuple[float, float]] = []
    decided: list[float] = []
    with _counted(found, calls, decided):
        for _ in plait.map(row.fn, row.items):
            pass
    return calls, decided


def _covered(times: list[tuple[float, float]]) -> float:
    """Return for how many seconds one was under way at least."""
    covered, end = 0.0, 0.0
    for begun, ended in sorted(times):
        covered += max(0.0, ended - max(begun, end))
        end = max(end, ended)
    return covered


def _until(times: list[tuple[float, float]], done: float) -> float:
    """Return after how many seconds so many seconds of calls are done."""
    steps = sorted([(begun, 1) for begun, _ in times] + [(ended, -1) for _, ended in times])
    first = last = steps[0][0]
    under_way = 0
    for moment, step in steps:
        if under_way and under_way * (moment - last) >= done:
            return last + done / under_way - first
        done -= under_way * (moment - last)
        under_way, last = under_way + step, moment
    return last - first


@contextmanager
def _counted(
    found: dict[str, float], calls: list[tuple[float, float]], decided: list[float]
) -> Iterator[None]:
    def timed_call(call: Any, *args: Any, **kwargs: Any) -> Any:
        begun = perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            calls.append((begun, perf_counter()))

    class Timed(ThreadEngine):
        """Has calls timed that are made beside the first."""

        def submit(self, fn: Any, *args: Any) -> Any:
            return super().submit(partial(timed_call, fn), *args)

    def decide(known: record.Record, need: Any) -> Any:
        decided.append(perf_counter())
        return original_decide(known, need)

    def observed(call: Any, *args: Any, **kwargs: Any) -> Any:
        called = 0.0

        def timed() -> Any:
            nonlocal called
            begun = perf_counter()
            try:
                return call()
            finally:
                called = perf_counter() - begun
                calls.append((begun, begun + called))

        begun = perf_counter()
        try:
            return original(timed, *args, **kwargs)
        finally:
            found["looking"] += perf_counter() - begun - called

    with (
        mock.patch.object(calling, "observed", observed),
        mock.patch.object(first_calls, "ThreadEngine", Timed),
        mock.patch.object(mapping, "ThreadEngine", Timed),
        mock.patch.object(record.Record, "decide", decide),
        _timed(Analysis, "__init__", found, "reading"),
        _timed(record.Record, "decide", found, "deciding"),
        _timed(calling.Caller, "need", found, "deciding"),
    ):
        yield


def _timed(owner: type, name: str, found: dict[str, float], part: str) -> Any:
    original = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            found[part] += perf_counter() - begun

    return mock.patch.object(owner, name, timed)
