"""Runs the rows, each pool in a process of its own, in turn."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from child import Child, Unable, python
from pool.programs import Figures
from pool.rows import Row
from rounds import rotated

# How long one run may take, in seconds.
PATIENCE = 120.0


@dataclass
class Result:
    """What a row gave: figures by pool, and why a pool has none."""

    row: Row
    figures: dict[str, list[Figures]] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)


def measure_row(row: Row, peers: Sequence[str], *, rounds: int, count: int) -> Result:
    """Run a program with every pool in turn, so many times."""
    result = Result(row)
    for turn in range(rounds):
        for peer in rotated([peer for peer in peers if peer not in result.unable], turn):
            try:
                with Child(python("pool.perform", peer, row.name, str(count))) as running:
                    figures = running.answer(PATIENCE)
                    running.finish()
            except Unable as error:
                result.unable[peer] = str(error)
                result.figures.pop(peer, None)
            else:
                result.figures.setdefault(peer, []).append(figures)
    return result


def measure(rows: Sequence[Row], peers: Sequence[str], *, rounds: int, part: int) -> list[Result]:
    """Measure rows one after another; `part` divides how often each repeats what it does."""
    results = []
    for row in rows:
        print(f"{row.name} ...", file=sys.stderr, flush=True)
        count = max(1, row.count // part)
        results.append(measure_row(row, peers, rounds=rounds, count=count))
    return results
