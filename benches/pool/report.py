"""Lays out what the pools gave."""

from collections.abc import Mapping, Sequence
from statistics import median

from notes import notes
from pool.limits import Limit
from pool.measure import Result
from pool.peers import OURS, WORKERS
from pool.rows import Bar, Unit
from report import table
from verdict import at_least, at_most, spread


def _medians(result: Result, figure: str) -> dict[str, float]:
    return {
        name: median([figures[figure] for figures in found])
        for name, found in result.figures.items()
    }


def _times(ours: float, theirs: float, unit: Unit) -> float:
    return ours / theirs if unit.more_is_better else theirs / ours


def verdict(medians: Mapping[str, float], unit: Unit, bar: Bar) -> str:
    """Compare plait with whom its bar names."""
    ours = medians.get(OURS)
    others = {name: _times(ours, found, unit) for name, found in medians.items() if ours}
    others.pop(OURS, None)
    if ours is None:
        return ""
    lines = []
    if bar.least is not None:
        lines.append(str(at_least(ours, bar.least)))
    if bar.most is not None:
        lines.append(str(at_most(ours, bar.most)))
    if not others:
        return "; ".join(lines)
    best = min(others, key=others.__getitem__)
    if bar.times is not None and (bar.of is None or bar.of in others):
        of = bar.of or best
        lines.append(f"{at_least(others[of], bar.times)} of {of}")
    if bar.ahead:
        lines.append(f"{at_least(others[best], 1)} of the best, {best}")
    return "; ".join(lines)


def tables(results: Sequence[Result], peers: Sequence[str], limits: Sequence[Limit]) -> list[str]:
    """Lay out the figures, and the limits."""
    rows = []
    for result in results:
        for figure, (unit, bar) in result.row.figures.items():
            cells = [
                spread([each[figure] for each in result.figures[name]])
                if name in result.figures
                else "-"
                for name in peers
            ]
            which = f", {figure}" if len(result.row.figures) > 1 else ""
            title = f"{result.row.title}{which} (`{result.row.name}`)"
            judged = verdict(_medians(result, figure), unit, bar)
            rows.append([title, unit.value, *cells, judged])
    header = ["work", "unit", *peers, "plait, times the peer (bar)"]
    return [
        *table(header, rows),
        "",
        "The limits, measured between the rounds:",
        "",
        *table(
            ["limit", "unit", "median [least..most]"],
            [[limit.title, limit.unit, spread(limit.values)] for limit in limits],
        ),
        "",
        *notes([(result.row.name, result.unable) for result in results]),
    ]


def report(
    results: Sequence[Result],
    peers: Sequence[str],
    *,
    limits: Sequence[Limit],
    facts: Sequence[str],
    rounds: int,
) -> list[str]:
    """Lay out the results of the process pools."""
    return [
        "# The process pool: what it costs to hand out work",
        "",
        f"{WORKERS} workers; median [least..most] of {rounds} interleaved rounds, each in a new"
        " process with a pool of its own. Data are counted in both directions. Beside each ratio"
        " stands the bar of issue 5.",
        "",
        *facts,
        "",
        *tables(results, peers, limits),
    ]
