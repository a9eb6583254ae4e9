"""The command `make bench-pool`."""

import argparse
from collections.abc import Sequence

from pool.limits import Limits
from pool.measure import measure
from pool.peers import PEERS, present
from pool.report import report
from pool.rows import ROWS
from report import machine, parser, write

# A quick run does this part of each row.
QUICK = 20


def options(
    description: str,
    names: Sequence[str],
    pools: Sequence[str],
    arguments: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Read the command line of a table with these rows and pools."""
    made = parser(description)
    made.set_defaults(rounds=5)
    made.add_argument("row", nargs="*", help=f"rows to measure; all without. {', '.join(names)}")
    made.add_argument("--peers", default=",".join(pools), help="the pools, separated by commas")
    made.add_argument(
        "--quick", action="store_true", help="one short round: checks that it works, no figures"
    )
    found = made.parse_args(arguments)
    unknown = sorted(set(found.row) - set(names))
    if unknown:
        made.error(f"there is no row {', '.join(unknown)}; the rows: {', '.join(names)}")
    strange = sorted(set(found.peers.split(",")) - set(pools))
    if strange:
        made.error(f"there is no pool {', '.join(strange)}; the pools: {', '.join(pools)}")
    if found.record and (found.row or found.quick or found.peers != ",".join(pools)):
        made.error("--record is for whole tables: without rows, --peers and --quick")
    if found.rounds < 1:
        made.error("--rounds must be above zero")
    if found.quick:
        found.rounds = 1
    return found


def main() -> None:
    """Measure and report."""
    description = "plait's process pool beside its peers, and beside bare memory as the limit."
    asked = options(description, [row.name for row in ROWS], PEERS)
    peers, absent = present(asked.peers.split(","))
    rows = [row for row in ROWS if not asked.row or row.name in asked.row]
    facts = machine((*peers, "numpy"))
    if absent:
        facts.append(f"- not installed for this interpreter: {', '.join(absent)}")
    limits = Limits()
    for _ in range(asked.rounds):
        limits.round()
    results = measure(rows, peers, rounds=asked.rounds, part=QUICK if asked.quick else 1)
    lines = report(results, peers, limits=limits.all, facts=facts, rounds=asked.rounds)
    write("pool", lines, record=asked.record)
