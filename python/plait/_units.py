"""Figures as people read them."""

from __future__ import annotations

from plait._binding import native

__all__ = ["bytes_of", "ratio", "seconds_of"]


def seconds_of(seconds: float) -> str:
    """Give a time in seconds three significant digits and the unit that suits it."""
    return native.human(seconds)


def bytes_of(size: int) -> str:
    """Give a size in bytes the unit that suits it (kB is a thousand)."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB"


def ratio(value: float) -> str:
    """Give a ratio two or three digits and a multiplication sign."""
    decimals = 0 if value >= 9.95 else 1 if value >= 1.95 else 2
    return f"{value:.{decimals}f}\N{MULTIPLICATION SIGN}"
