"""The command `make bench`."""

from pool.command import QUICK, options
from pool.measure import measure
from pool.peers import WORKERS, present
from pool.report import tables
from report import machine, write
from threads.limits import Limits
from threads.peers import PEERS
from threads.rows import ROWS


def main() -> None:
    """Measure and report."""
    description = "plait's thread pool beside its peers, and beside what no pool can be ahead of."
    asked = options(description, [row.name for row in ROWS], PEERS)
    peers, absent = present(asked.peers.split(","))
    rows = [row for row in ROWS if not asked.row or row.name in asked.row]
    facts = machine(peers)
    if absent:
        facts.append(f"- not installed for this interpreter: {', '.join(absent)}")
    limits = Limits()
    for _ in range(asked.rounds):
        limits.round()
    part = QUICK if asked.quick else 1
    results = measure(rows, peers, rounds=asked.rounds, part=part, module="threads.perform")
    lines = [
        "# The thread pool: what it costs to hand out a task",
        "",
        f"A task that returns its argument; {WORKERS} workers; median [least..most] of"
        f" {asked.rounds} interleaved rounds, each in a new process with a pool of its own. CPU is"
        " that of the whole process, for each task. Coroutines run on asyncio's loop, plait's on"
        " plait's. Beside each ratio stands the bar of issue 6.",
        "",
        *facts,
        "",
        *tables(results, peers, limits.all),
    ]
    write("threads", lines, record=asked.record)
