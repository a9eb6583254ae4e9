"""The command `make bench-loop`."""

import argparse
import os
import sys
from collections.abc import Sequence

from loop import (
    callback_report,
    callback_rows,
    callbacks,
    load,
    server_report,
    server_rows,
    servers,
)
from loop.peers import PEERS, present
from report import machine, parser, write

LIBRARIES = ("uvicorn", "httptools", "aiohttp")


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser("plait's event loop beside its peers, and beside bare servers as the limit.")
    made.set_defaults(rounds=5)
    names = [row.name for row in (*server_rows.ROWS, *callback_rows.ROWS)]
    made.add_argument("row", nargs="*", help=f"rows to measure; all without. {', '.join(names)}")
    made.add_argument("--seconds", type=float, default=1.0, help="how long a round of a row is")
    made.add_argument("--peers", default=",".join(PEERS), help="the loops, separated by commas")
    made.add_argument(
        "--quick", action="store_true", help="one short round: checks that it works, no figures"
    )
    found = made.parse_args(arguments)
    unknown = sorted(set(found.row) - set(names))
    if unknown:
        made.error(f"there is no row {', '.join(unknown)}; the rows: {', '.join(names)}")
    if found.record and (found.row or found.quick or found.peers != ",".join(PEERS)):
        made.error("--record is for whole tables: without rows, --peers and --quick")
    if found.rounds < 1 or found.seconds <= 0:
        made.error("--rounds and --seconds must be above zero")
    if found.quick:
        found.rounds, found.seconds = 1, min(found.seconds, 0.05)
    return found


def main() -> None:
    """Measure and report."""
    asked = options()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("error: the load needs a core of its own, and this machine has one")
    peers, absent = present(asked.peers.split(","))
    wanted = set(asked.row)
    serving = [row for row in server_rows.ROWS if not wanted or row.name in wanted]
    calling = [row for row in callback_rows.ROWS if not wanted or row.name in wanted]
    facts = machine((*peers, *LIBRARIES))
    if absent:
        facts.append(f"- not installed for this interpreter: {', '.join(absent)}")
    # What measures must not sit on the server's core.
    os.sched_setaffinity(0, set(cores[1:]))
    if serving:
        load.build()
        found = servers.measure(
            serving, peers, cores=cores, rounds=asked.rounds, seconds=asked.seconds
        )
        lines = server_report.report(
            found, peers, facts=facts, rounds=asked.rounds, seconds=asked.seconds
        )
        write("loop", lines, record=asked.record)
    if calling:
        results = callbacks.measure(
            calling, peers, cores=cores, rounds=asked.rounds, seconds=asked.seconds
        )
        lines = callback_report.report(
            results, peers, facts=facts, rounds=asked.rounds, seconds=asked.seconds
        )
        write("loop_callbacks", lines, record=asked.record)
