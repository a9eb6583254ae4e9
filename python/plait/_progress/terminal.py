"""How far maps are, as bars on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from plait._progress import Bar

__all__ = ["Terminal"]


class Terminal:
    """Draws a bar for each map, under what the program prints."""

    every = 0.1

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}", style="red", markup=False),
            console=Console(stderr=True),
            # A timer of ours does it: rich's thread cannot be ended by itself, which the collector
            # might ask for.
            auto_refresh=False,
            # What goes to a file or a pipe goes on doing so.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._tasks: dict[Bar, TaskID] = {}

    def add(self, bar: Bar) -> None:
        """Draw one more."""
        if not self._tasks:
            self._progress.start()
        task = self._progress.add_task(bar.name, total=bar.total, rate="", failed="")
        self._tasks[bar] = task
        self.refresh()

    def remove(self, bar: Bar) -> None:
        """Leave one as it is at its end."""
        self._update(bar)
        self._progress.stop_task(self._tasks[bar])
        self._progress.refresh()
        del self._tasks[bar]
        if not self._tasks:
            self._progress.stop()

    def refresh(self) -> None:
        """Draw them as they are."""
        for bar in self._tasks:
            self._update(bar)
        self._progress.refresh()

    def _update(self, bar: Bar) -> None:
        done, failed = bar.counts
        rate = f"{done / bar.elapsed:,.4g}/s" if done else ""
        told = f"{failed:,} failed" if failed else ""
        self._progress.update(self._tasks[bar], completed=done, rate=rate, failed=told)
