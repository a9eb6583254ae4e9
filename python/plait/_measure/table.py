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
    advice = Text.assemble((f"Use {measurement.best}: ", "bold green"), measurement.reason)
    parts: list[RenderableType] = [_table(measurement), Padding(advice, (0, 0, 1, 2))]
    parts.append(Padding(_evidence(measurement), (0, 2)))
    return Group(*parts)


def _table(measurement: Measurement) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("where", no_wrap=True)
    calls = "1 call" if measurement.batch == 1 else f"{measurement.batch} calls"
    table.add_column(calls, justify="right", no_wrap=True)
    if measurement.verified:
        table.add_column("run", justify="right", no_wrap=True)
    for heading in ("speed", "at once", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why", ratio=1)
    for method, reason in measurement.reasons.items():
        cells = [method]
        known = method in measurement.seconds
        cells.append(seconds_of(measurement.estimated[method]) if known else "no")
        if measurement.verified:
            run = measurement.verified.get(method)
            cells.append("" if run is None else seconds_of(run))
        cells.append(ratio(measurement.speedup[method]) if known else "")
        cells.append(str(measurement.workers[method]) if known else "")
        cells.append(_memory(measurement.memory[method]) if known else "")
        style = "bold" if method == measurement.best else None
        table.add_row(*cells, Text(reason), style=style)
    return table


def _memory(size: int) -> str:
    # Less than a few pages nobody can tell from nothing.
    return bytes_of(size) if size > 20_000 else "-"


def _evidence(measurement: Measurement) -> Text:
    signals = measurement.signals
    times = [f"{seconds_of(signals.cpu)} computing", f"{seconds_of(signals.waited)} waiting"]
    if signals.queued > signals.wall / 10:
        times.append(f"{seconds_of(signals.queued)} in the queue for a core")
    sentences = [f"One call takes {seconds_of(signals.wall)}: {', '.join(times)}."]
    if signals.held is not None and signals.stepped is None:
        sentences.append(f"It holds the interpreter lock for {signals.held:.0%} of that.")
    if signals.first > 2 * signals.wall and signals.first - signals.wall > 1e-3:
        sentences.append(
            f"Its first call took {seconds_of(signals.first)}, which each new process pays again."
        )
    sentences.extend(_disturbed(measurement))
    size = (signals.argument_bytes or 0) + (signals.result_bytes or 0)
    taken = signals.pickle_seconds or 0.0
    # What weighs next to nothing needs no word.
    if size > 10_000 or taken > signals.wall / 100:
        told = f"{bytes_of(size)} pickled, {seconds_of(taken)}"
        sentences.append(f"Carried to a process and back: {told}.")
    if "process" in measurement.cold and measurement.best != "serial":
        sentences.append(_cold(measurement))
    sentences.extend(
        f"{method.capitalize()}: {told}." for method, told in measurement.differences.items()
    )
    calls = "once" if measurement.calls == 1 else f"{measurement.calls} times"
    sentences.append(f"The function was called {calls}.")
    return Text(" ".join(sentence for sentence in sentences if sentence), style="dim")


def _cold(measurement: Measurement) -> str:
    """Say what starting costs, where it is worth a word."""
    seconds, cold = measurement.seconds["process"], measurement.cold["process"]
    if measurement.best != "process" or cold < 1.1 * seconds:
        return ""
    return f"With the processes still to be started, {seconds_of(cold)}."


def _disturbed(measurement: Measurement) -> list[str]:
    """Say what else the machine was doing."""
    load = measurement.load
    if load is None or load < 0.5:
        return []
    cores = f"{load:.1f} cores" if load >= 1.05 else "a core"
    return [f"Other programs kept {cores} busy, which is counted in."]
