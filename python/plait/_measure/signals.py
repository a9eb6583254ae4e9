"""What one call of a function costs and does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Signals", "has_threads"]

# As the estimate has it.
_MORE = 0.35


@dataclass(frozen=True, slots=True)
class Signals:
    """What one call of a function costs and does, read off a few real calls.

    Attributes:
        calls: How many calls they are read off.
        first: Wall time in seconds of the first call; `first - wall` is its warm-up.
        wall: Wall time in seconds of one call, the first left out where there are more.
        cpu: CPU time in seconds of the calling thread.
        queued: Seconds in which it was ready to run and no core was free (`schedstat`).
        held: The share, from 0 to 1, of `wall` in which the thread held the interpreter lock; None
            if that could not be read.
        waits: Shares of `wall` by what it waited on: `"socket"`, `"sleep"`, `"file"`, `"pipe"`,
            `"lock"`, `"process"` or `"other"`.
        argument_bytes: Size of the pickled arguments; None if they cannot be pickled, or need not
            be.
        result_bytes: Size of the pickled result; None likewise.
        pickle_seconds: Seconds to pickle and unpickle both; None likewise.
        unpicklable: A clause that names what cannot be carried to a process, and what to do
            instead; None if everything can.
        memory: Bytes that the peak of the process grew by in a call; None if it did not tell.
        process_cpu: CPU time in seconds of the whole process, and of its child processes that
            have ended: more than `cpu` where a library computes in threads of its own, or a
            program that is called does.
        pauses: How often a call stopped to wait (voluntary context switches).
        releases: How often a call let go of the interpreter lock, as far as a close look has seen.
        rivals: How many threads of the machine wanted a core beside the calling one when a call
            began, on average; None if the kernel did not tell.
        stepped: For a coroutine: seconds of its steps, in which the loop stands still; None for a
            plain function.
    """

    calls: int
    first: float
    wall: float
    cpu: float
    queued: float
    held: float | None
    waits: Mapping[str, float]
    argument_bytes: int | None
    result_bytes: int | None
    pickle_seconds: float | None
    unpicklable: str | None
    memory: int | None
    process_cpu: float = 0.0
    pauses: float = 0.0
    releases: float = 0.0
    rivals: float | None = None
    stepped: float | None = None

    @property
    def waited(self) -> float:
        """Seconds in which it neither computed nor queued for a core."""
        return max(0.0, self.wall - self.cpu - self.queued)

    @property
    def _waits(self) -> list[tuple[str, float]]:
        """The waits as the estimate takes them."""
        return list(self.waits.items())


def has_threads(process_cpu: float, cpu: float, alone: float) -> bool:
    """Tell whether a library's own threads compute for a call: they look for more for a while.

    Args:
        process_cpu: CPU seconds of the whole process in a call.
        cpu: those of the calling thread.
        alone: the seconds of a call without its time in the queue.

    """
    return process_cpu - cpu > _MORE * alone
