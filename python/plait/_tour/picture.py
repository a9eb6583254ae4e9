"""The picture of a tour: what ran where and when."""

from __future__ import annotations

from collections.abc import Sequence

from plait._binding import native
from plait._tour.program import Program, Run
from plait._tour.report import machine

__all__ = ["draw"]


def draw(results: Sequence[tuple[Program, Sequence[Run]]]) -> str:
    """Draw the runs of all programs as an SVG document."""
    timeline = native.Timeline(
        "What ran where and when",
        f"The programs of plait's tour under every method, as they ran on {machine()}. "
        "In each panel all methods share one time axis.",
    )
    for number, (program, runs) in enumerate(results, 1):
        panel = timeline.panel(f"{number}. {program.title}", program.about, program.advise(runs))
        for run in runs:
            if run.track is None or run.outcome is None:
                continue
            name, outcome = run.method.name, run.outcome.text
            track = timeline.track(panel, name, run.track.start, run.track.end, outcome)
            for span in run.track.spans:
                timeline.span(track, span.lane, span.label, span.kind, span.start, span.end)
    return timeline.svg()
