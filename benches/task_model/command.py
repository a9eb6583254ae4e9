"""The command `make bench-tasks`."""

import subprocess
import sys
import time

from pool.command import options
from pool.limits import Limit
from pool.measure import measure
from pool.report import tables
from report import machine, write
from task_model.programs import WAIT
from task_model.rows import PEERS, ROWS


def _started() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return 1e3 * (time.perf_counter() - begun)


def main() -> None:
    """Measure and report."""
    description = "plait's task groups and parallel calls, beside what else starts processes."
    asked = options(description, [row.name for row in ROWS], PEERS)
    rows = [row for row in ROWS if not asked.row or row.name in asked.row]
    start = Limit("a Python process that does nothing, from start to end", "ms")
    for _ in range(asked.rounds):
        start.values.append(_started())
    wait = Limit("one of the waits", "ms", [1e3 * WAIT])
    results = measure(
        rows, asked.peers.split(","), rounds=asked.rounds, part=1, module="task_model.perform"
    )
    lines = [
        "# Tasks: calls in parallel, and groups that end in time",
        "",
        f"Median [least..most] of {asked.rounds} interleaved rounds, each in a new process."
        " `first` has the imports in it and the start of all processes; `again` is the second time"
        " in the same program. Beside each figure stands the bar of issue 6.",
        "",
        *machine(),
        "",
        *tables(results, asked.peers.split(","), (start, wait)),
    ]
    write("tasks", lines, record=asked.record)
