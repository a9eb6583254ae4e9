"""Lays out what the callbacks gave."""

from collections.abc import Sequence
from statistics import median

from loop.callback_rows import Unit
from loop.callbacks import CallbackResult, Timing
from loop.peers import OURS, REFERENCE
from notes import notes
from report import table
from verdict import at_least, spread

# Whom a row without a bar of its own is not to be behind.
NOT_BEHIND = ("asyncio", REFERENCE, "rloop")


def shown(timing: Timing, unit: Unit) -> float:
    """Return a timing as its row shows it."""
    if unit is Unit.MICROSECONDS:
        return 1e6 * timing.wall
    return 1 / timing.wall / (1_000 if unit is Unit.THOUSANDS else 1)


def _median(result: CallbackResult, name: str, field: str) -> float | None:
    timings = result.timings.get(name)
    return median([getattr(timing, field) for timing in timings]) if timings else None


def verdicts(result: CallbackResult) -> tuple[str, str]:
    """Compare plait by the clock, and by CPU time, with whom its bar names."""
    ours, own_cpu = _median(result, OURS, "wall"), _median(result, OURS, "cpu")
    others = (REFERENCE,) if result.row.bar is not None else NOT_BEHIND
    walls = {name: found for name in others if (found := _median(result, name, "wall"))}
    if not ours or not walls:
        return "", ""
    best = min(walls, key=walls.__getitem__)
    verdict = at_least(walls[best] / ours, result.row.bar or 1.0)
    cpu = _median(result, best, "cpu")
    by_cpu = f"{cpu / own_cpu:.2f}" if cpu and own_cpu else ""
    return (str(verdict) if best == REFERENCE else f"{verdict} of {best}"), by_cpu


def report(
    results: Sequence[CallbackResult],
    peers: Sequence[str],
    *,
    facts: Sequence[str],
    rounds: int,
    seconds: float,
) -> list[str]:
    """Lay out the results."""
    rows = []
    for result in results:
        unit = result.row.unit
        cells = [
            spread([shown(timing, unit) for timing in result.timings[name]])
            if name in result.timings
            else "-"
            for name in peers
        ]
        title = f"{result.row.title} (`{result.row.name}`)"
        rows.append([title, unit.value, *cells, *verdicts(result)])
    header = ["inside one loop", "unit", *peers, f"times {REFERENCE} (at least)", "by CPU time"]
    return [
        "# Inside the loop: callbacks, tasks, timers, processes",
        "",
        f"Median [least..most] of {rounds} interleaved rounds of about {seconds:g} s by the clock,"
        " each in a new process, on one core, on all where threads"
        " or processes are part of it. Beside each ratio stands the bar of issue 4; a row without"
        " a bar there is compared with the best of " + ", ".join(NOT_BEHIND) + ".",
        "",
        *facts,
        "",
        *table(header, rows),
        "",
        *notes([(result.row.name, result.unable) for result in results]),
    ]
