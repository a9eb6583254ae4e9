"""Runs the rows, each pool in a process of its own, in turn."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from child import Child, Unable, python
from pool.programs import Figures
from pool.rows import Bar, Unit
from rounds import rotated

# How long one run may take, in seconds.
PATIENCE = 120.0


class Row(Protocol):
    """What is known here of a row."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def figures(self) -> Mapping[str, tuple[Unit, Bar]]: ...
    @property
    def count(self) -> int: ...


@dataclass
class Result:
    """What a row gave: figures by pool, and why a pool has none."""

    row: Row
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)


def measure_row(
    row: Row, peers: Sequence[str], *, rounds: int, count: int, module: str = "pool.perform"
) -> Result:
    """Run a program with every pool in turn, so many times; `module` runs it once."""
    result = Result(row)
    for turn in range(rounds):
        for peer in rotated([peer for peer in peers if peer not in result.unable], turn):
            try:
                with Child(python(module, peer, row.name, str(count))) as running:
                    figures = running.answer(PATIENCE)
                    running.finish()
            except Unable as error:
                result.unable[peer] = str(error)
                result.figures.pop(peer, None)
            else:
                result.figures.setdefault(peer, []).append(figures)
    return result


def measure(
    rows: Sequence[Row],
    peers: Sequence[str],
    *,
    rounds: int,
    part: int,
    module: str = "pool.perform",
) -> list[Result]:
    """Measure rows one after another; `part` divides how often each repeats what it does."""
    results = []
    for row in rows:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        count = max(1, row.count // part)
        results.append(measure_row(row, peers, rounds=rounds, count=count, module=module))
    return results
