"""Whether a figure reaches its bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Verdict:
    """A ratio beside its bar."""

    ratio: float
    bar: float
    reached: bool

    def __str__(self) -> str:
        """Show the ratio, the bar, and which is ahead."""
        return f"{self.ratio:.2f} ({self.bar:g}: {'reached' if self.reached else 'NOT reached'})"


def at_most(ratio: float, bar: float) -> Verdict:
    """Compare a ratio that must not exceed its bar; both are shown to two decimals."""
    return Verdict(ratio, bar, round(ratio, 2) <= bar)


def at_least(ratio: float, bar: float) -> Verdict:
    """Compare a ratio that must come up to its bar."""
    return Verdict(ratio, bar, round(ratio, 2) >= bar)


def spread(values: Sequence[float]) -> str:
    """Show a median, and the least and the most."""
    if max(values) < 10:
        return f"{median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"
    if max(values) < 100:
        return f"{median(values):.1f} [{min(values):.1f}..{max(values):.1f}]"
    return f"{median(values):,.0f} [{min(values):,.0f}..{max(values):,.0f}]"
