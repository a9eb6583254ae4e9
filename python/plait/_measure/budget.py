"""The time that a measurement may spend in the user's function."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Budget"]


@dataclass(slots=True)
class Budget:
    """Seconds to spend, seconds left, and the calls made so far."""

    total: float
    left: float = field(init=False)
    calls: int = 0

    def __post_init__(self) -> None:
        self.left = self.total

    def spend(self, seconds: float, calls: int) -> None:
        """Note that `calls` calls took `seconds` in all."""
        self.left -= seconds
        self.calls += calls

    def share(self, engines: int) -> float:
        """Seconds for the next of so many engines.

        Where others took longer than they were thought to, it still has a tenth of the budget.
        """
        return max(self.left / engines, self.total / 10)
