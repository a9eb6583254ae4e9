"""What is noted of each function while the program runs."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass, field
from types import CodeType

from plait._measure.signals import Signals

__all__ = ["Carried", "Record"]

#: After so many calls that took less than this many seconds each, a function is too short to be
#: told of: to note a call takes longer. Its time is its callers'.
_TINY = 1000
_SHORT = 2e-6

#: Calls that are looked into whatever that costs.
_FIRST = 20
#: What looking into a call costs, in seconds, and the share of a function's time it may take.
_COST = 1e-5
_SHARE = 0.02


@dataclass(slots=True)
class Carried:
    """What carrying the arguments or the results to a process would take, in a few calls."""

    calls: int = 0
    size: int = 0
    seconds: float = 0.0
    problem: str | None = None

    def add(self, size: int, seconds: float) -> None:
        """Note one call."""
        self.calls += 1
        self.size += size
        self.seconds += seconds

    def merge(self, other: Carried) -> None:
        """Add what another thread noted."""
        self.calls += other.calls
        self.size += other.size
        self.seconds += other.seconds
        self.problem = self.problem or other.problem


@dataclass(slots=True, eq=False)
class Record:
    """One function in one thread; times in seconds. A call within a call is a part of it."""

    code: CodeType
    calls: int = 0
    wall: float = 0.0
    first: float = 0.0
    # Whose calls these were: the time spent, by the caller's code (its `id`; 0: nobody's).
    callers: dict[int, float] = field(default_factory=dict)
    # Of the calls that were looked into:
    seen: int = 0
    seen_wall: float = 0.0
    cpu: float = 0.0
    process_cpu: float = 0.0
    queued: float = 0.0
    pauses: int = 0
    samples: int = 0
    held: int = 0
    waits: Counter[str] = field(default_factory=Counter)
    arguments: Carried = field(default_factory=Carried)
    results: Carried = field(default_factory=Carried)
    # Of coroutines: the time of their steps, in which the loop stands still; and the time in which
    # any of them was under way, of which there are so many now, and the first since then
    # (less what measuring had taken by then).
    stepped: float = 0.0
    covered: float = 0.0
    under_way: int = 0
    since: float = 0.0
    # The program ran several threads: they queued for the cores, and computed, beside each other.
    crowded: bool = False

    @property
    def is_coroutine(self) -> bool:
        """Whether it is a coroutine function."""
        return bool(self.code.co_flags & inspect.CO_COROUTINE)

    @property
    def taken(self) -> float:
        """The program's time that its calls took; coroutines overlap."""
        return self.covered if self.is_coroutine else self.wall

    def is_tiny(self) -> bool:
        """Whether its calls are not worth being noted any more."""
        return self.calls >= _TINY and self.wall < _SHORT * self.calls

    def looks(self) -> bool:
        """Whether to look into the next call."""
        return self.seen < _FIRST or self.seen * _COST < _SHARE * self.wall

    def merge(self, other: Record) -> None:
        """Add what another thread noted of the same function."""
        if not self.calls:
            self.first = other.first
        for name in ("calls", "wall", "seen", "seen_wall", "cpu", "process_cpu", "queued",
                     "pauses", "samples", "held", "stepped", "covered"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for caller, seconds in other.callers.items():
            self.callers[caller] = self.callers.get(caller, 0.0) + seconds
        self.waits.update(other.waits)
        self.arguments.merge(other.arguments)
        self.results.merge(other.results)

    def signals(self) -> Signals:
        """Return what one call costs and does."""
        seen = max(self.seen, 1)
        # The first call is told apart, and counts where there is no other.
        later = self.calls > 1
        wall = (self.wall - self.first) / (self.calls - 1) if later else self.wall
        # What the calls that were looked into took of a core, for one of that length.
        scale = wall / self.seen_wall if self.seen_wall else 0.0
        cpu = min(wall, self.cpu * scale)
        queued, process_cpu = min(wall, self.queued * scale), self.process_cpu * scale
        if self.crowded:
            # Neither says anything about other programs, or about the function.
            wall, queued, process_cpu = max(cpu, wall - queued), 0.0, cpu
        problem = self.arguments.problem or self.results.problem
        carried = self.arguments.calls > 0 and self.results.calls > 0 and problem is None
        return Signals(
            calls=self.calls,
            first=self.first,
            wall=wall,
            cpu=cpu,
            queued=queued,
            held=self.held / self.samples if self.samples else None,
            waits={on: count / self.samples for on, count in self.waits.items()},
            argument_bytes=self.arguments.size // self.arguments.calls if carried else None,
            result_bytes=self.results.size // self.results.calls if carried else None,
            pickle_seconds=(
                self.arguments.seconds / self.arguments.calls
                + self.results.seconds / self.results.calls
                if carried
                else None
            ),
            unpicklable=problem,
            memory=None,
            process_cpu=process_cpu,
            pauses=self.pauses / seen,
            stepped=max(cpu, self.stepped * scale) if self.is_coroutine else None,
        )
