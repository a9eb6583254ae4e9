"""What is said of a program that ran."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from types import CodeType
from typing import IO, Any

from plait._units import ratio, seconds_of
from plait._which.ranking import Answer
from plait._which.record import Record

__all__ = ["as_dict", "write_json", "write_table"]

#: Columns to write where there is no terminal to ask.
_WIDTH = 100
#: Whose reasons are told of where none of them is better than none.
_OTHERS = ("thread", "process")


def write_table(
    script: str,
    answers: Sequence[Answer],
    records: Sequence[Record],
    elapsed: float,
    total: float,
    out: IO[str],
) -> None:
    """Write the functions, where each runs best, and why.

    Args:
        script: What ran.
        answers: The functions.
        records: Everything that was noted.
        elapsed: Seconds that it ran.
        total: Seconds that its threads ran, together: what shares are of.
        out: Where to write.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out, highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _WIDTH
    console.print(f"\n{script} ran for {seconds_of(elapsed)}", style="bold", markup=False)
    if not answers:
        console.print(_nothing(records, total), markup=False)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("function")
    for heading in ("calls", "a call", "share", "best", "at once", "speed"):
        table.add_column(heading, justify="right")
    for answer in answers:
        record, best = answer.record, answer.best
        table.add_row(
            Text(f"{record.code.co_qualname}\n  {_place(record.code)}"),
            str(record.calls),
            seconds_of(record.wall / record.calls),
            f"{record.taken / total:.0%}",
            best.method,
            str(best.width),
            ratio(answer.now / best.seconds) if best.seconds else "",
        )
    console.print(table)
    for answer in answers:
        name = Text(f"{answer.record.code.co_qualname}: ", style="bold")
        advice = (f"use {answer.best.method}: ", "bold green")
        console.print(Padding(Text.assemble(name, advice, answer.best.reason), (0, 0, 0, 2)))
        if answer.best.method == "serial":
            for method in [method for method in _OTHERS if method in answer.reasons]:
                why = Text(f"{method}: {answer.reasons[method]}", style="dim")
                console.print(Padding(why, (0, 0, 0, 6)))
    note = "As if the calls of each function did not depend on each other: only its author knows."
    console.print(Padding(Text(note, style="dim"), (1, 2)))


def _nothing(records: Sequence[Record], total: float) -> str:
    """Say why there is no function to answer for."""
    if not records:
        return "It called no functions of its own: there is nothing to hand out."
    longest = max(records, key=lambda record: record.taken)
    times = "once" if longest.calls == 1 else f"{longest.calls} times"
    return (
        "No function of its own that takes time is called more than once: there is nothing to hand "
        f"out. The longest is {longest.code.co_qualname}, called {times}, with "
        f"{longest.taken / total:.0%} of the time: what it repeats has to be a function."
    )


def write_json(
    script: str, answers: Sequence[Answer], elapsed: float, total: float, out: IO[str]
) -> None:
    """Write the same as JSON."""
    found = {
        "script": script,
        "seconds": elapsed,
        "functions": [as_dict(answer, total) for answer in answers],
    }
    json.dump(found, out, indent=2)
    out.write("\n")


def as_dict(answer: Answer, total: float) -> dict[str, Any]:
    """Return what is known of one function as dicts, strings and numbers."""
    code, best = answer.record.code, answer.best
    signals = asdict(answer.signals)
    return {
        "function": code.co_qualname,
        "file": code.co_filename,
        "line": code.co_firstlineno,
        "coroutine": answer.record.is_coroutine,
        "calls": answer.record.calls,
        "seconds": answer.record.taken,
        "share": answer.record.taken / total,
        "best": best.method,
        "reason": best.reason,
        "reasons": dict(answer.reasons),
        "speedup": answer.now / best.seconds if best.seconds else 1.0,
        "estimates": {one.method: asdict(one) for one in answer.estimates},
        "signals": {**signals, "waits": dict(signals["waits"])},
    }


def _place(code: CodeType) -> str:
    """Return where a function is, from here if that is shorter."""
    path = min(code.co_filename, os.path.relpath(code.co_filename), key=len)
    return f"{path}:{code.co_firstlineno}"
