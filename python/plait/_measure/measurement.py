"""What was measured, and the choice made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import StringIO
from typing import TYPE_CHECKING, Any

from plait._measure.signals import Signals

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Measurement"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The evidence about a function, and the recommendation drawn from it.

    Made by `plait.measure`; `print` it for a table.

    Attributes:
        best: Where to run it: `"serial"`, `"thread"`, `"process"` or `"loop"`.
        reason: One sentence that says why.
        seconds: For each method that can run it, the time in seconds of the whole batch: the
            run where there was one (`verified`), or else the estimate (`estimated`). Pools are
            started, the function has been called in this process, and is new to others.
        speedup: For each method, how many times as fast it is as one call after another.
        memory: For each method, the bytes that it takes beyond the program's own.
        signals: What one call costs and does.
        reasons: For each method, one sentence; also for one that cannot run it.
        batch: The number of calls that `seconds` are about.
        calls: How many times the function was called in all.
        workers: For each method, how many calls it should have under way at once.
        chunk: For each method, how many calls it should hand out together.
        cold: For each method, the time in seconds of the batch in a program that has just begun:
            the pools not started, the function new.
        estimated: For each method, the estimate of the batch in seconds.
        verified: For each method that was run to check the estimate, the time in seconds of the
            batch: the best of up to three runs, or, where the budget did not allow one whole run,
            scaled up from a part. Empty without `verify=True`.
        differences: For each method whose run took a quarter more or less than was estimated, a
            sentence that says so.
        load: How many cores other programs kept busy meanwhile; None if that could not be told.
    """

    best: str
    reason: str
    seconds: Mapping[str, float]
    speedup: Mapping[str, float]
    memory: Mapping[str, int]
    signals: Signals
    reasons: Mapping[str, str]
    batch: int
    calls: int
    workers: Mapping[str, int]
    chunk: Mapping[str, int]
    cold: Mapping[str, float]
    estimated: Mapping[str, float]
    verified: Mapping[str, float]
    differences: Mapping[str, str]
    load: float | None

    @property
    def wall(self) -> float:
        """Wall time in seconds of one call, made alone."""
        return self.signals.wall

    @property
    def cpu(self) -> float:
        """CPU time in seconds of the calling thread in one call."""
        return self.signals.cpu

    @property
    def waited(self) -> float:
        """The part of `wall` in which a call neither computed nor queued for a core."""
        return self.signals.waited

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain dicts, strings and numbers, ready for `json.dumps`."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def __rich__(self) -> RenderableType:
        from plait._measure.table import render

        return render(self)

    def __str__(self) -> str:
        from rich.console import Console

        text = StringIO()
        Console(file=text, width=88, color_system=None, legacy_windows=False).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def _plain(value: Any) -> Any:
    """Return a field's value as what JSON knows."""
    if isinstance(value, Signals):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value
