"""How busy other programs keep the cores.

`/proc/stat` (proc(5)) has a line for each core with the ticks, 100 a second, that it has spent in
each state since the machine started: user, nice, system, idle, iowait, irq, softirq and steal (what
the host of a virtual machine gave to somebody else). What is neither idle nor waiting for a disk,
and was not spent by this process, other programs took.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from resource import RUSAGE_CHILDREN, getrusage
from time import monotonic, process_time

__all__ = ["Load"]

#: Ticks are coarse: over less than this many seconds they say nothing.
_ENOUGH = 0.08
_IDLE, _IOWAIT, _STATES = 3, 4, 8


@dataclass(frozen=True, slots=True)
class Load:
    """A reading; `own` is the CPU time of this process and of its children that have ended."""

    wall: float
    own: float
    busy: float | None

    @classmethod
    def now(cls) -> Load:
        """Read the clocks of the cores that this process may use."""
        ended = getrusage(RUSAGE_CHILDREN)
        own = process_time() + ended.ru_utime + ended.ru_stime
        return cls(monotonic(), own, _busy())

    def soon(self) -> float:
        """Seconds after which this reading and another one will tell something."""
        return max(0.0, self.wall + _ENOUGH - monotonic())

    def since(self, earlier: Load) -> float | None:
        """Return how many cores others kept busy since; None if that cannot be told."""
        wall = self.wall - earlier.wall
        if self.busy is None or earlier.busy is None or wall < _ENOUGH:
            return None
        others = (self.busy - earlier.busy - (self.own - earlier.own)) / wall
        # Less than this is the ticks' own coarseness, and what no machine is without.
        return others if others > 0.15 else 0.0


def _busy() -> float | None:
    """Seconds for which those cores have been busy; None if the kernel does not tell."""
    wanted = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    try:
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        with open("/proc/stat", encoding="ascii", errors="replace") as file:
            for line in file:
                name, *figures = line.split()
                if name in wanted:
                    states = [int(figure) for figure in figures[:_STATES]]
                    total += sum(states) - states[_IDLE] - states[_IOWAIT]
                    wanted.discard(name)
        return None if wanted else total / ticks
    except (OSError, ValueError, IndexError):
        return None
