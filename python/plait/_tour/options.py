"""How large the tour is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """The size of the tour.

    Attributes:
        scale: Factor on the times of the delayed messages: 1 is 2 s and 3 s.
        delay: Seconds after which the HTTP server answers.
        lists: How many lists are sorted.
        numbers: How many numbers there are in a list.
        picture: Where the picture is written.
    """

    scale: float
    delay: float
    lists: int
    numbers: int
    picture: Path

    @classmethod
    def of(cls, size: str, picture: Path, scale: float | None = None) -> Options:
        """Make the options of a size: `"quick"`, `"normal"` or `"full"`."""
        usual, delay, lists = {
            "quick": (0.05, 0.05, 16),
            "normal": (0.1, 0.1, 100),
            "full": (1.0, 0.5, 1000),
        }[size]
        return cls(usual if scale is None else scale, delay, lists, 30_000, picture)
