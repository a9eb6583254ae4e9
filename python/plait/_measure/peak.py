"""The memory that a call needs at its highest."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Peak"]


@dataclass(frozen=True, slots=True)
class Peak:
    """The resident memory of this process, in bytes, and the most that it ever was."""

    now: int
    ever: int

    @classmethod
    def read(cls) -> Peak | None:
        """Read `VmRSS` and `VmHWM` (proc(5)); None if the kernel does not tell."""
        told: dict[str, int] = {}
        try:
            with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
                for line in file:
                    name, _, value = line.partition(":")
                    if name in ("VmRSS", "VmHWM"):
                        told[name] = int(value.split()[0]) * 1024
            return cls(told["VmRSS"], told["VmHWM"])
        except (OSError, ValueError, KeyError, IndexError):
            return None

    def grown_since(self, earlier: Peak, later: Peak) -> int | None:
        """Return what was needed for a while.

        What is still there later was not for that call alone: imports, caches, memory that is kept
        for the next one.

        Args:
            earlier: Read before the call.
            later: Read when its result was dropped.

        Returns:
            Bytes. Where the process has once been larger than now, and did not grow beyond that,
            nobody can tell: None.
        """
        if self.ever > earlier.ever:
            return max(0, self.ever - max(earlier.now, later.now))
        # A peak so near that what was needed is under a megabyte.
        return 0 if earlier.ever - earlier.now < 1_000_000 else None
