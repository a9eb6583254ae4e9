"""The command `make bench-auto`."""

import gc
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import plait
from automatic.deciding import PARTS, forget, parts_of
from automatic.herd import report as herd_report
from automatic.rows import ROWS, Row, noted, trifle, trifle_and_noted
from report import machine, median, parser, table, write
from rounds import rotated
from verdict import spread

# Of a batch of a second, in seconds.
BAR = 0.02
# The row of those that are submitted at once, which has a table of its own.
HERD = "herd"
# So many items are taken to see what one costs that is called in place.
ITEMS = 200_000


def _spend(take: Callable[[], object]) -> float:
    noted.clear()
    gc.collect()
    begun = time.perf_counter()
    take()
    return time.perf_counter() - begun


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
    spent: dict[str, list[float]] = {"directly": [], "known": [], "new": []}
    with plait.ThreadPoolExecutor(decided.width) as threads:
        for turn in range(rounds):
            for name in rotated(list(spent), turn):
                if name == "directly":
                    spent[name].append(_spend(lambda: _directly(row, method, threads)))
                    continue
                if name == "new":
                    forget()
                spent[name].append(_spend(lambda: _automatically(row)))
    found = [parts_of(row) for _ in range(rounds)]
    whole = median([sum(one.values()) for one in found])
    return [
        f"{row.title} (`{row.name}`)",
        method if decided.width == 1 else f"{method}, {decided.width}",
        *(spread([1e3 * wall for wall in walls]) for walls in spent.values()),
        *(f"{1e3 * median([one[part] for one in found]):.1f}" for part in PARTS),
        f"{whole:.1%} ({BAR:.0%}: {'reached' if whole <= BAR else 'NOT reached'})",
    ]


def _beyond(fn: Callable[[Any], object], rounds: int) -> list[float]:
    """Measure what an item of a map costs beyond that of the builtin one, in µs, in each round."""
    items = range(ITEMS)
    for _ in plait.map(fn, items):
        pass
    found = []
    for _ in range(rounds):
        plainly = _spend(lambda: deque(map(fn, items), 0))
        found.append(1e6 * (_spend(lambda: deque(plait.map(fn, items), 0)) - plainly) / ITEMS)
    return found


def _in_place(rounds: int) -> str:
    short, kept = _beyond(trifle, rounds), _beyond(trifle_and_noted, rounds)
    return (
        f"Beyond the builtin `map`, an item that is called in place costs, in µs: {spread(short)}"
        f" of a function that is too short to be handed out, {spread(kept)} of one that must stay"
        f" ({ITEMS:,} items, as many rounds)."
    )


def main() -> None:
    """Measure and report."""
    asked = parser("What on='auto' costs beside the method that it chooses, taken directly.")
    names = [*(row.name for row in ROWS), HERD]
    asked.add_argument("row", nargs="*", help="only these", choices=[[], *names])
    options = asked.parse_args()
    rows = [row for row in ROWS if not options.row or row.name in options.row]
    # Started by now, as they are in a program that goes on: their start is told elsewhere.
    plait.submit(abs, 1, on="process").result()
    began = machine()
    measured = []
    for row in rows:
        measured.append(_measured(row, options.rounds))
        print(measured[-1], file=sys.stderr)
    in_place = [] if options.row else ["", _in_place(options.rounds)]
    herd = ["", *herd_report(options.rounds)] if HERD in (options.row or [HERD]) else []
    lines = [
        "# What the automatic choice costs",
        "",
        f"Median [least..most] of {options.rounds} interleaved rounds in one process, ms of a whole"
        " batch: by the method that was chosen, taken directly (`map`, an executor of as many"
        ' threads, `plait.map(on="process")`: the limit); by `plait.map` where the function is'
        " known; and where it is new. Then what the decision itself costs, in ms, added up where it"
        " arises: reading the code; looking at the first calls (their arguments before and after,"
        " who holds the interpreter lock); deciding; and by how much the first calls hold up the"
        " batch: for how long calls had been made when it was decided where to make them, less the"
        " time in which as much is done where the function is known. The bar of issue 7: all"
        " under 2 % of a batch of one second, 20 ms.",
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
                *PARTS,
                "the decision (bar)",
            ),
            measured,
        ),
        *in_place,
        *herd,
    ]
    write("auto", lines, record=options.record)
