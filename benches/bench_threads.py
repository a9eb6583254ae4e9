"""plait's thread pool beside that of `concurrent.futures`: what it costs to hand out a task.

The process pool has a table of its own: see `bench_pool.py`.

The task does nothing, so every microsecond is the pool's. Each round measures each pool once, in
turn, so that whatever else the machine does falls on all alike; the medians of the rounds count.
"""

import concurrent.futures
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import plait
from report import machine, median, parser, table, write

WORKERS = 2
WARM_UP = 200
ROUND_TRIPS = 2_000
BULK = 20_000

STANDARD = "concurrent.futures.ThreadPoolExecutor"
OURS = "plait.ThreadPoolExecutor"
POOLS: Mapping[str, Callable[[], concurrent.futures.Executor]] = {
    STANDARD: lambda: concurrent.futures.ThreadPoolExecutor(WORKERS),
    OURS: lambda: plait.ThreadPoolExecutor(WORKERS),
}


@dataclass(frozen=True)
class Sample:
    """One pool in one round, in seconds a task."""

    trip_p50: float
    trip_p99: float
    trip_cpu: float
    bulk: float
    bulk_cpu: float


def nothing(value: int) -> int:
    """Be the task."""
    return value


def measure(pool: concurrent.futures.Executor) -> Sample:
    """Measure one pool: one task at a time, then many at once; every result is checked."""
    for value in range(WARM_UP):
        assert pool.submit(nothing, value).result() == value

    gc.collect()
    trips = []
    cpu = time.process_time()
    for value in range(ROUND_TRIPS):
        begun = time.perf_counter()
        result = pool.submit(nothing, value).result()
        trips.append(time.perf_counter() - begun)
        assert result == value
    trip_cpu = time.process_time() - cpu
    trips.sort()

    cpu = time.process_time()
    begun = time.perf_counter()
    futures = [pool.submit(nothing, value) for value in range(BULK)]
    results = [future.result() for future in futures]
    bulk = time.perf_counter() - begun
    bulk_cpu = time.process_time() - cpu
    assert results == list(range(BULK))

    return Sample(
        trip_p50=trips[len(trips) // 2],
        trip_p99=trips[len(trips) * 99 // 100],
        trip_cpu=trip_cpu / ROUND_TRIPS,
        bulk=bulk / BULK,
        bulk_cpu=bulk_cpu / BULK,
    )


def main() -> None:
    """Run the rounds and report."""
    options = parser(__doc__ or "").parse_args()
    facts = machine()
    samples: dict[str, list[Sample]] = {name: [] for name in POOLS}
    for _ in range(options.rounds):
        for name, make in POOLS.items():
            with make() as pool:
                samples[name].append(measure(pool))

    def micro(name: str, field: str) -> float:
        return 1e6 * median([getattr(sample, field) for sample in samples[name]])

    rows = [
        [
            name,
            f"{micro(name, 'trip_p50'):.1f}",
            f"{micro(name, 'trip_p99'):.1f}",
            f"{micro(name, 'trip_cpu'):.1f}",
            f"{1e6 / micro(name, 'bulk'):,.0f}",
            f"{micro(name, 'bulk_cpu'):.1f}",
        ]
        for name in POOLS
    ]
    header = ["pool", "round trip p50, µs", "p99, µs", "CPU, µs", "in bulk, tasks/s", "CPU, µs"]
    trip, bulk, cpu = (
        micro(STANDARD, field) / micro(OURS, field) for field in ("trip_p50", "bulk", "bulk_cpu")
    )
    lines = [
        "# The thread pool: what it costs to hand out a task",
        "",
        f"A task that returns its argument; {WORKERS} workers; medians of {options.rounds}"
        f" interleaved rounds of {ROUND_TRIPS:,} round trips and {BULK:,} tasks in bulk. CPU is"
        " that of the whole process, for each task.",
        "",
        *facts,
        "",
        *table(header, rows),
        "",
        f"plait beside the standard library: {trip:.2f} times as fast a round trip, {bulk:.2f}"
        f" times the tasks a second in bulk, 1/{cpu:.2f} of the CPU time for each.",
    ]
    write("threads", lines, record=options.record)


if __name__ == "__main__":
    main()
