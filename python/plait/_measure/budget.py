"""The time that a measurement may spend in the user's function."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budget"]


@dataclass(slots=True)
class Budget:
    """Seconds left, and the calls made so far."""

    left: float
    calls: int = 0

    def spend(self, seconds: float, calls: int) -> None:
        """Note that `calls` calls took `seconds` in all."""
        self.left -= seconds
        self.calls += calls
