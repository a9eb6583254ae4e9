"""The command `make bench-choice`."""

import argparse
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from choice.beside import BURNERS, burners
from choice.measure import measure
from choice.report import section
from choice.rows import ROWS
from report import machine, parser, write, written

QUICK = 20
TITLE = "# The choice: what is chosen, and what is fastest"
INTRODUCTION = (
    "The fastest way is found by running the batch in every way. A choice is right when it is that"
    " one, or takes at most a tenth longer; its regret is its time in times that of the fastest,"
    " 1.000 being the limit. Pools are warm. The bars are those of issue 7."
)
SECTIONS = ("## A quiet machine", f"## A busy machine: {BURNERS} processes compute beside it")


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [row.name for row in ROWS]
    made = parser("What plait chooses for a function, beside what is fastest.")
    made.set_defaults(rounds=5)
    made.add_argument("row", nargs="*", help=f"rows to measure; all without. {', '.join(names)}")
    made.add_argument(
        "--loaded", action="store_true", help=f"beside {BURNERS} processes that compute"
    )
    made.add_argument(
        "--told", action="store_true", help="measure(..., verify=True): it runs the methods itself"
    )
    made.add_argument(
        "--quick", action="store_true", help="one short round: checks that it works, no figures"
    )
    found = made.parse_args(arguments)
    unknown = sorted(set(found.row) - set(names))
    if unknown:
        made.error(f"there is no row {', '.join(unknown)}; the rows: {', '.join(names)}")
    if found.record and (found.row or found.quick or found.told):
        made.error("--record is for whole tables: without rows, --quick and --told")
    if found.rounds < 1:
        made.error("--rounds must be above zero")
    if found.quick:
        found.rounds = 1
    return found


def with_section(text: str, heading: str, lines: Sequence[str]) -> list[str]:
    """Put a section into the text of a report, in place of the one of that name."""
    kept: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line in SECTIONS:
            current = kept.setdefault(line, [])
        else:
            current.append(line)
    kept[heading] = ["", *lines]
    whole = [TITLE, "", INTRODUCTION, ""]
    for name in SECTIONS:
        if name in kept:
            whole += [name, *kept[name]]
            while whole[-1] == "":
                whole.pop()
            whole.append("")
    return whole[:-1]


def main() -> None:
    """Measure and report."""
    asked = options()
    rows = [row for row in ROWS if not asked.row or row.name in asked.row]
    facts = machine(("numpy",))
    with burners(BURNERS) if asked.loaded else nullcontext():
        results = measure(
            rows, rounds=asked.rounds, part=QUICK if asked.quick else 1, told=asked.told
        )
    facts.append(f"- load when it ended: {os.getloadavg()[0]:.2f}")
    lines = section(results, facts, rounds=asked.rounds, loaded=asked.loaded, told=asked.told)
    before: Path = written("choice", record=asked.record)
    text = before.read_text() if asked.record and before.exists() else ""
    write("choice", with_section(text, SECTIONS[asked.loaded], lines), record=asked.record)
