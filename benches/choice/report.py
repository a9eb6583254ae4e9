"""Lays out what was chosen and what was fastest."""

from collections import Counter
from collections.abc import Sequence

from choice.judging import Judged, always, judge, mean_regret, medians, method_of
from choice.measure import AUTO, CHOOSERS, MEASURE, Result
from choice.methods import METHODS, PROCESS, SERIAL, THREAD
from notes import notes
from report import table
from verdict import Verdict, at_least, at_most, spread

# How many rows may be wrong: issue 7.
WRONG_QUIET, WRONG_LOADED = 1, 2
REGRET = 1.03


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _fastest_of(result: Result, method: str) -> str:
    ways = {way: time for way, time in medians(result).items() if method_of(way) == method}
    if not ways:
        return "-"
    way = min(ways, key=ways.__getitem__)
    cell = spread([1e3 * seconds for seconds in result.times[way]])
    width = way.partition("@")[2]
    return f"{cell} ({width})" if width else cell


def _judged(result: Result, chooser: str) -> tuple[str, str]:
    found = judge(result, chooser)
    if found is None:
        return "-", "-"
    wrong = "" if found.is_right else " WRONG"
    return _short(found.chosen), f"{found.regret:.3f}{wrong}"


def _short(way: str) -> str:
    method, _, width = way.partition("@")
    return f"{method} ({width})" if width else method


def times_table(results: Sequence[Result]) -> list[str]:
    """Lay out the times of each method, and the choices."""
    rows = []
    for result in results:
        asked, asked_regret = _judged(result, MEASURE)
        decided, decided_regret = _judged(result, AUTO)
        auto = result.chosen.get(AUTO)
        rows.append(
            [
                f"{result.row.title} (`{result.row.name}`)",
                str(result.batch),
                *(_fastest_of(result, method) for method in METHODS),
                asked,
                asked_regret,
                decided,
                decided_regret,
                "-" if auto is None else _milliseconds(auto["took"]),
            ]
        )
    header = ["a call", "calls", *METHODS, "measure", "regret", "auto", "regret", "auto, as run"]
    return table(header, rows)


def confusion(judged: Sequence[Judged]) -> list[str]:
    """Count what was chosen by what was fastest."""
    counts = Counter((method_of(each.chosen), method_of(each.fastest)) for each in judged)
    methods = [method for method in METHODS if any(method in pair for pair in counts)]
    rows = [
        [f"chosen: {chosen}", *(str(counts[chosen, fastest] or "") for fastest in methods)]
        for chosen in methods
    ]
    return table(["", *(f"fastest: {method}" for method in methods)], rows)


def verdicts(judged: Sequence[Judged], *, loaded: bool) -> list[str]:
    """Hold the choices to the bars of issue 7."""
    right = sum(each.is_right for each in judged)
    needed = len(judged) - (WRONG_LOADED if loaded else WRONG_QUIET)
    count = at_least(right, needed)
    regret = mean_regret(judged)
    mean = f"- mean regret: {regret:.3f}"
    if not loaded:
        mean += f" ({REGRET}: {_reached(at_most(regret, REGRET))})"
    return [f"- right: {right} of {len(judged)} ({needed}: {_reached(count)})", mean]


def _reached(verdict: Verdict) -> str:
    return "reached" if verdict.reached else "NOT reached"


def estimates(results: Sequence[Result]) -> list[str]:
    """Lay out what `plait.measure` believed beside what was so."""
    rows = []
    for result in results:
        found = result.chosen.get(MEASURE)
        if found is None:
            continue
        times = medians(result)
        cells = []
        for method in METHODS:
            way = _way_of(found, method, result.batch)
            believed, ran = found["seconds"].get(method), times.get(way)
            cells.append("-" if believed is None or ran is None else f"{believed / ran:.2f}")
        held = "-" if found["held"] is None else f"{found['held']:.0%}"
        wall = found["wall"]
        rows.append(
            [
                result.row.name,
                *cells,
                f"{1e3 * wall:.3g}",
                f"{found['cpu'] / wall:.0%}",
                f"{found['waited'] / wall:.0%}",
                held,
                _milliseconds(found["took"]),
            ]
        )
    return table(
        ["row", *METHODS, "a call, ms", "CPU", "waits", "holds the lock", "took, ms"], rows
    )


def _way_of(found: dict[str, object], method: str, batch: int) -> str:
    workers = found["workers"]
    assert isinstance(workers, dict)
    width = workers.get(method)
    return (
        method
        if width is None or method not in (THREAD, PROCESS)
        else f"{method}@{min(width, batch)}"
    )


def section(
    results: Sequence[Result], facts: Sequence[str], *, rounds: int, loaded: bool, told: bool
) -> list[str]:
    """Lay out one run of the benchmark."""
    lines = [
        *facts,
        "",
        f"Milliseconds for the whole batch; median [least..most] of {rounds} interleaved rounds; in"
        " brackets behind them how many threads or processes, the fastest number of those tried.",
        "",
        *times_table(results),
        "",
    ]
    for chooser in CHOOSERS:
        judged = [found for result in results if (found := judge(result, chooser))]
        if judged:
            name = f"`plait.{chooser}`" if chooser == MEASURE else '`on="auto"`'
            verify = " with `verify=True`" if told and chooser == MEASURE else ""
            lines += [f"Chosen by {name}{verify}:", "", *confusion(judged), ""]
            lines += [*verdicts(judged, loaded=loaded), ""]
    if any(result.times for result in results):
        same = (THREAD, PROCESS, SERIAL)
        regrets = ", ".join(f"{method} {always(results, method):.2f}" for method in same)
        lines += [
            f"Mean regret of always taking the same, serially where it cannot: {regrets}.",
            "",
        ]
    lines += [
        "What `plait.measure` took the time to be, in times what it was, and what it saw:",
        "",
        *estimates(results),
        "",
        *notes([(result.row.name, result.unable) for result in results]),
    ]
    return lines
