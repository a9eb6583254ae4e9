"""How far maps are, shown on standard error while they run."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from plait import _alarms

if TYPE_CHECKING:
    from plait._map.flow import Flow

__all__ = ["Bar"]


class Bar:
    """What is to be shown of one map.

    Args:
        name: of the function.
        total: how many items there are; None if nobody knows.

    """

    def __init__(self, name: str, total: int | None) -> None:
        """Show nothing yet."""
        self.name = name
        self.total = total
        self.begun = 0.0
        self._flow: Flow | None = None
        self._counts = 0, 0
        self._ended: float | None = None

    def follow(self, flow: Flow) -> None:
        """Begin to show how far that is."""
        self._flow = flow
        self.begun = time.monotonic()
        _shown.add(self)

    @property
    def counts(self) -> tuple[int, int]:
        """How many items have ended, and how many of these have failed."""
        flow = self._flow
        return self._counts if flow is None else (flow.done, flow.failed)

    @property
    def elapsed(self) -> float:
        """For how many seconds it has run."""
        return (time.monotonic() if self._ended is None else self._ended) - self.begun

    def end(self) -> None:
        """Show where it has ended."""
        if self._flow is None:
            return
        self._ended = time.monotonic()
        self._counts = self.counts
        self._flow = None
        _shown.remove(self)


class Display(Protocol):
    """Shows bars."""

    # After how many seconds it is brought up to date.
    every: float

    def add(self, bar: Bar) -> None:
        """Show one more."""

    def remove(self, bar: Bar) -> None:
        """Show the end of one."""

    def refresh(self) -> None:
        """Show where they are."""


class _Shown:
    """The bars that are shown, and what shows them: they share one terminal."""

    def __init__(self) -> None:
        # Reentrant: the collector may end a bar at any point.
        self._lock = threading.RLock()
        self._bars: list[Bar] = []
        self._display: Display | None = None
        self._alarm: _alarms.Alarm | None = None
        self._exiting = False

    def add(self, bar: Bar) -> None:
        with self._lock:
            if self._exiting:
                return
            if self._display is None:
                self._display = _display()
            if self._display is None:
                return
            self._bars.append(bar)
            self._display.add(bar)
            if self._alarm is None:
                self._alarm = _alarms.call_at(time.monotonic() + self._display.every, self._tick)

    def remove(self, bar: Bar) -> None:
        with self._lock:
            if self._display is None or bar not in self._bars:
                return
            self._bars.remove(bar)
            self._display.remove(bar)
            if not self._bars:
                self._display = None
                if self._alarm is not None:
                    self._alarm.cancel()
                    self._alarm = None

    def _tick(self) -> None:
        with self._lock:
            if self._display is None or self._exiting:
                return
            self._alarm = None
            self._display.refresh()
            self._alarm = _alarms.call_at(time.monotonic() + self._display.every, self._tick)

    def stop(self) -> None:
        """Leave the terminal as it was, at interpreter exit."""
        with self._lock:
            for bar in list(self._bars):
                self.remove(bar)
            self._exiting = True


def _display() -> Display | None:
    stream = sys.stderr
    if stream is None:
        return None
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        from plait._progress.terminal import Terminal

        return Terminal()
    from plait._progress.lines import Lines

    return Lines(stream)


def _after_fork_in_child() -> None:
    # What is shown is the parent's.
    global _shown
    _shown = _Shown()


_shown = _Shown()
threading._register_atexit(lambda: _shown.stop())  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
