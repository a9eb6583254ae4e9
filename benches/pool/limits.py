"""What no pool can be ahead of: a bare ring between two threads, and copies of memory."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from report import ROOT

SIZE = 100_000_000
TRIPS = 200_000


@dataclass
class Limit:
    """A limit and what each round gave."""

    title: str
    unit: str
    values: list[float] = field(default_factory=list)


def _best(act: Callable[[], object]) -> float:
    """Return the time of the fastest of three, in seconds."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


class Limits:
    """Builds what is needed, then measures a round at a time."""

    def __init__(self) -> None:
        """Build the bare ring."""
        command = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "plait-shm"]
        subprocess.run([*command, "--example", "pingpong"], cwd=ROOT, check=True)
        found = subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--no-deps"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        self._ring = f"{json.loads(found.stdout)['target_directory']}/release/examples/pingpong"
        self._trip = Limit("a bare ring, there and back, p50", "µs")
        self._late = Limit("a bare ring, there and back, p99", "µs")
        self._rate = Limit("a bare ring, messages of 64 bytes one way", "messages/s")
        self._warm = Limit("a copy of 100 MB into memory in use", "GB/s")
        self._fresh = Limit("a copy of 100 MB into fresh memory", "GB/s")
        self.all = (self._trip, self._late, self._rate, self._warm, self._fresh)

    def round(self) -> None:
        """Measure each once."""
        run = subprocess.run([self._ring, str(TRIPS)], check=True, capture_output=True)
        found = json.loads(run.stdout)
        self._trip.values.append(found["p50"])
        self._late.values.append(found["p99"])
        self._rate.values.append(found["rate"])
        data = bytes(range(256)) * (SIZE // 256)
        place = memoryview(bytearray(data))

        def copy() -> None:
            place[:] = data

        self._warm.values.append(len(data) / _best(copy) / 1e9)
        self._fresh.values.append(len(data) / _best(lambda: bytearray(data)) / 1e9)
