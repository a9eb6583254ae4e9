"""The clocks of one thread: wall, CPU, and time in the queue for a core."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Self

__all__ = ["Clocks"]


def _queued() -> float:
    """Seconds that this thread has been ready to run while no core was free.

    From the kernel's scheduler statistics (Documentation/scheduler/sched-stats.rst, the second
    figure of a thread's `schedstat`). A kernel built without them has nothing to say: then it is
    0, and time in the queue counts as waiting.
    """
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) * 1e-9
    except (OSError, IndexError):
        return 0.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """A reading, or the difference of two, in seconds."""

    wall: float
    cpu: float
    queued: float

    @classmethod
    def now(cls) -> Self:
        """Read the clocks of the calling thread."""
        queued = _queued()
        return cls(perf_counter(), thread_time(), queued)

    def __sub__(self, earlier: Clocks) -> Clocks:
        return Clocks(
            self.wall - earlier.wall, self.cpu - earlier.cpu, self.queued - earlier.queued
        )

    def __truediv__(self, calls: int) -> Clocks:
        return Clocks(self.wall / calls, self.cpu / calls, self.queued / calls)

    @property
    def waited(self) -> float:
        """The part of the wall time that went neither into computing nor into queueing."""
        return max(0.0, self.wall - self.cpu - self.queued)
