"""What a decision costs, added up where it arises: clocks around batches tell of their noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from unittest import mock

import plait
from automatic.rows import Row, noted
from plait._auto import calling, record, records
from plait._auto.analysis import Analysis
from plait._auto.measuring import observed as original

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
    estimates and what they need; `delay`, by how much less the first calls would have held the
    batch up where it was decided to make the others.
    """
    forget()
    noted.clear()
    found = dict.fromkeys(PARTS, 0.0)
    with _counted(found):
        for _ in plait.map(row.fn, row.items):
            pass
    known = records.record_of(row.fn)[0]
    decision, signals = known.decision, known.signals()
    if decision is not None and signals is not None and known.history:
        seconds = dict(decision.seconds)
        gain = 1 - min(1.0, seconds[decision.method] / seconds["serial"])
        found["delay"] = known.history[0].calls * signals.wall * gain
    return found


@contextmanager
def _counted(found: dict[str, float]) -> Iterator[None]:
    def observed(call: Any, *args: Any, **kwargs: Any) -> Any:
        called = 0.0

        def timed() -> Any:
            nonlocal called
            begun = perf_counter()
            try:
                return call()
            finally:
                called = perf_counter() - begun

        begun = perf_counter()
        try:
            return original(timed, *args, **kwargs)
        finally:
            found["looking"] += perf_counter() - begun - called

    with (
        mock.patch.object(calling, "observed", observed),
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
