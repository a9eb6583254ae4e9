"""How far maps are, as lines in a log or a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from plait._progress import Bar

__all__ = ["EVERY", "Lines", "duration"]

# A line for each map after so many seconds.
EVERY = 5.0


class Lines:
    """Writes a line from time to time, and one at the end."""

    def __init__(self, stream: TextIO) -> None:
        """Write nothing yet."""
        self.every = EVERY
        self._stream = stream
        self._bars: list[Bar] = []

    def add(self, bar: Bar) -> None:
        """Write about one more."""
        self._bars.append(bar)

    def remove(self, bar: Bar) -> None:
        """Write the last line of one."""
        self._bars.remove(bar)
        self._write(bar, ended=True)

    def refresh(self) -> None:
        """Write a line about each."""
        for bar in self._bars:
            self._write(bar, ended=False)

    def _write(self, bar: Bar, *, ended: bool) -> None:
        if self._stream.closed:
            return
        print(line(bar, ended=ended), file=self._stream, flush=True)


def line(bar: Bar, *, ended: bool) -> str:
    """Say how far a map is."""
    done, failed = bar.counts
    seconds = bar.elapsed
    rate = done / seconds if seconds else 0.0
    text = f"{bar.name}: {done:,}"
    if bar.total is not None:
        share = f" ({done / bar.total:.0%})" if bar.total else ""
        text += f" of {bar.total:,}{share}"
    text += f" in {duration(seconds)}, {rate:{',.0f' if rate >= 100 else '.3g'}}/s"
    if not ended and bar.total is not None and done:
        text += f", {duration((bar.total - done) / rate)} left"
    if failed:
        text += f", {failed:,} failed"
    return text


def duration(seconds: float) -> str:
    """Write a time for people."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"
