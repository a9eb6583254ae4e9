"""A measurement as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from plait._units import bytes_of, ratio, seconds_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from plait._measure.measurement import Measurement

__all__ = ["render"]


def render(measurement: Measurement) -> RenderableType:
    """Draw the table, the reason below it, and the evidence below that."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("where")
    calls = "1 call" if measurement.batch == 1 else f"{measurement.batch} calls"
    for heading in (calls, "a call", "speed", "at once", "hand-out"):
        table.add_column(heading, justify="right")
    serial = measurement.seconds["serial"]
    for engine, seconds in measurement.seconds.items():
        handout = measurement.handout.get(engine)
        best = engine == measurement.best
        table.add_row(
            engine,
            seconds_of(seconds),
            seconds_of(seconds / measurement.batch),
            ratio(serial / seconds) if seconds else "",
            str(measurement.workers.get(engine, 1)),
            "" if handout is None else seconds_of(handout),
            style="bold" if best else None,
        )
    advice = Text.assemble((f"Use {measurement.best}: ", "bold green"), measurement.reason)
    return Group(table, Padding(advice, (0, 0, 1, 2)), Padding(_evidence(measurement), (0, 2)))


def _evidence(measurement: Measurement) -> Text:
    sentences = [
        f"One call: {seconds_of(measurement.wall)} by the wall clock, "
        f"{seconds_of(measurement.cpu)} by the CPU clock, "
        f"{seconds_of(measurement.waited)} of it waiting."
    ]
    queued = measurement.wall - measurement.cpu - measurement.waited
    if queued > measurement.wall / 10:
        sentences.append(
            f"It queued {seconds_of(queued)} for a core: the machine is busy with something else, "
            "and the figures are the rougher for it."
        )
    if measurement.pickled_bytes is not None and measurement.pickle_seconds is not None:
        sentences.append(
            f"Carried to a process and back: {bytes_of(measurement.pickled_bytes)} pickled, "
            f"{seconds_of(measurement.pickle_seconds)}."
        )
    calls = "once" if measurement.calls == 1 else f"{measurement.calls} times"
    sentences.append(f"The function was called {calls}.")
    return Text(" ".join(sentences), style="dim")
