"""The command `make bench-auto`."""

import gc
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import plait
from automatic.rows import ROWS, Row, noted
from plait._auto import record
from report import machine, median, parser, table, write
from rounds import rotated
from verdict import spread

# Of a batch of a second, what a decision may cost.
BAR = 0.02


class Spent(NamedTuple):
    """What one batch took, in seconds."""

    wall: float
    # CPU time of this process, all threads.
    cpu: float


def _spend(take: Callable[[], object]) -> Spent:
    noted.clear()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    take()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _forget() -> None:
    """Have every function be unknown."""
    record._records.clear()
    record._by_code.clear()


def _automatically(row: Row) -> None:
    for _ in plait.map(row.fn, row.items):
        pass


def _directly(row: Row, method: str, threads: plait.ThreadPoolExecutor) -> None:
    if method == "serial":
        results: object = map(row.fn, row.items)
    elif method == "thread":
        results = threads.map(row.fn, row.items)
    else:
        results = plait.map(row.fn, row.items, on="process")
    for _ in results:  # type: ignore[attr-defined]
        pass


def _measured(row: Row, rounds: int) -> list[str]:
    _automatically(row)
    decided = plait.explain(row.fn)
    method = decided.decision or "serial"
    spent: dict[str, list[Spent]] = {"directly": [], "known": [], "new": []}
    with plait.ThreadPoolExecutor(decided.width) as threads:
        for turn in range(rounds):
            for name in rotated(list(spent), turn):
                if name == "directly":
                    spent[name].append(_spend(lambda: _directly(row, method, threads)))
                    continue
                if name == "new":
                    _forget()
                spent[name].append(_spend(lambda: _automatically(row)))
    direct = median([one.cpu for one in spent["directly"]])
    walls = [[one.wall for one in spent[name]] for name in spent]
    second = median(walls[0])
    more = {
        name: (median([one.cpu for one in spent[name]]) - direct) / second
        for name in ("known", "new")
    }
    return [
        f"{row.title} (`{row.name}`)",
        method if decided.width == 1 else f"{method}, {decided.width}",
        *(spread([1e3 * wall for wall in found]) for found in walls),
        f"{more['known']:+.1%}",
        f"{more['new']:+.1%}",
        f"{more['new'] - more['known']:+.1%}"
        f" ({BAR:.0%}: {'reached' if more['new'] - more['known'] <= BAR else 'NOT reached'})",
    ]


def main() -> None:
    """Measure and report."""
    asked = parser("What on='auto' costs beside the method that it chooses, taken directly.")
    asked.add_argument("row", nargs="*", help="only these", choices=[[], *(r.name for r in ROWS)])
    options = asked.parse_args()
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    # Started by now, as they are in a program that goes on: their start is told elsewhere.
    plait.submit(abs, 1, on="process").result()
    began = machine()
    measured = []
    for row in rows:
        measured.append(_measured(row, options.rounds))
        print(measured[-1], file=sys.stderr)
    lines = [
        "# What the automatic choice costs",
        "",
        f"Median [least..most] of {options.rounds} interleaved rounds in one process, ms of a whole"
        " batch: by the method that was chosen, taken directly (`map`, an executor of as many"
        ' threads, `plait.map(on="process")`); by `plait.map` where the function is known; and'
        " where it is new, so that its code is read, its first calls are measured and it is"
        " decided. CPU time is this process's, beyond that of the direct way, as a part of its"
        " time on the clock. The bar of issue 7 is for the decision: new less known.",
        "",
        *began,
        "",
        *table(
            (
                "batch",
                "chosen",
                "directly",
                "auto, known",
                "auto, new",
                "CPU, known",
                "CPU, new",
                "the decision (bar)",
            ),
            measured,
        ),
    ]
    write("auto", lines, record=options.record)
