"""Reading what a stretch of calls costs the thread that makes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from plait._binding import native

__all__ = ["Spent", "Stretches", "Watch"]

# The sampling thread is kept; None where the lock cannot be read, or not yet made.
_sampler: native.LockSampler | None = None
_tried = False


def _lock_sampler() -> native.LockSampler | None:
    """Return the process's one sampler; None where who holds the lock cannot be read."""
    global _sampler, _tried
    if not _tried:
        _tried = True
        try:
            _sampler = native.LockSampler()
        except RuntimeError:
            _sampler = None
    return _sampler


@dataclass(frozen=True, slots=True)
class Spent:
    """What each of so many calls took; times in seconds."""

    calls: int
    wall: float
    cpu: float
    queued: float
    process_cpu: float
    pauses: float

    @property
    def alone(self) -> float:
        """The wall time without the queue for a core.

        That is read a little before and after the clocks: it is never all of the time.
        """
        return max(min(self.cpu, self.wall), self.wall - self.queued)


@dataclass(slots=True)
class Stretches:
    """All stretches that were read of one function."""

    spent: list[Spent] = field(default_factory=list)
    samples: int = 0
    held: int = 0
    waits: Counter[str] = field(default_factory=Counter)
    released: int = 0
    closely: float = 0.0
    # Before each stretch: how many threads wanted a core beside this one.
    rivals: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return sum(spent.calls for spent in self.spent)

    @property
    def share_held(self) -> float | None:
        """The share of its time with the lock held; None if there are too few samples."""
        # Of ten samples the share is known to within a third.
        return self.held / self.samples if self.samples >= 10 else None

    @property
    def release_rate(self) -> float:
        """How often in a second of its time it lets go of the lock; 0.0 if nobody looked."""
        return self.released / self.closely if self.closely else 0.0

    @property
    def share_waited(self) -> dict[str, float]:
        """Shares of its time by what it waited on."""
        if not self.samples:
            return {}
        return {what: count / self.samples for what, count in self.waits.most_common()}

    def typical(self) -> Spent:
        """Return one call as it mostly is.

        The time in the queue is that of all calls together: it says how busy the machine is. For
        the rest the round is taken that has a quarter of the others below it: what disturbs a
        round makes it longer, but the very shortest may have been lucky.
        """
        # The first rounds are short, and what surrounds a call is a part of them.
        most = max(spent.calls for spent in self.spent)
        long = [spent for spent in self.spent if 4 * spent.calls >= most]
        ordered = sorted(long, key=lambda spent: spent.alone)
        chosen = ordered[(len(ordered) - 1) // 4]
        cpu = sum(spent.cpu * spent.calls for spent in self.spent)
        queued = sum(spent.queued * spent.calls for spent in self.spent)
        waiting = queued / cpu * chosen.cpu if cpu > 0 else chosen.queued
        return Spent(
            chosen.calls,
            chosen.alone + waiting,
            min(chosen.cpu, chosen.alone),
            waiting,
            chosen.process_cpu,
            chosen.pauses,
        )


class Watch:
    """Reads stretches of calls made by the calling thread."""

    __slots__ = ("_probe", "_sampler")

    def __init__(self) -> None:
        self._probe = native.Probe()
        self._sampler = _lock_sampler()

    @contextmanager
    def reading(self, into: Stretches, calls: int) -> Iterator[None]:
        """Read what the block costs, which makes so many calls."""
        rivals = native.rivals()
        if rivals is not None:
            # Before the sampling thread wants a core as well.
            into.rivals.append(rivals)
        watched = self._sampler is not None and self._sampler.begin()
        self._probe.begin()
        try:
            yield
        finally:
            wall, cpu, queued, process_cpu, pauses = self._probe.end()
            if watched:
                assert self._sampler is not None
                released, closely = self._sampler.released()
                samples, held, waits = self._sampler.end()
                into.released += released
                into.closely += closely
                into.samples += samples
                into.held += held
                into.waits.update(waits)
        into.spent.append(
            Spent(
                calls,
                wall / calls,
                cpu / calls,
                queued / calls,
                process_cpu / calls,
                pauses / calls,
            )
        )
