"""Lays out what the servers gave."""

from collections.abc import Sequence
from statistics import median

from loop.peers import OURS, REFERENCE
from loop.servers import LIMIT, ServerResult
from notes import notes
from report import table
from verdict import at_least, at_most, spread


def _cpu(result: ServerResult, name: str) -> float | None:
    samples = result.samples.get(name)
    return median([sample.cpu for sample in samples]) if samples else None


def verdicts(result: ServerResult) -> tuple[str, str]:
    """Compare plait with the limit and with the reference."""
    ours, limit, reference = (_cpu(result, name) for name in (OURS, LIMIT, REFERENCE))
    bar = result.row.bar
    of_limit = of_reference = ""
    if ours and limit:
        ratio = ours / limit
        of_limit = f"{ratio:.2f}" if bar.of_limit is None else str(at_most(ratio, bar.of_limit))
    if ours and reference and bar.of_reference is not None:
        of_reference = str(at_least(reference / ours, bar.of_reference))
    return of_limit, of_reference


def _cells(result: ServerResult, names: Sequence[str]) -> list[str]:
    return [
        spread([1e6 * sample.cpu for sample in result.samples[name]])
        if name in result.samples
        else ("-" if name in result.unable else "")
        for name in names
    ]


def _flow(results: Sequence[ServerResult]) -> list[str]:
    rows = []
    for result in results:
        for name, samples in result.samples.items():
            rate = median([sample.operations / sample.wall for sample in samples])
            busy = median([sample.server_cpu / sample.wall for sample in samples])
            load = median([sample.generator_cpu / sample.wall for sample in samples])
            times = [
                f"{1e6 * median([getattr(sample, field) for sample in samples]):,.0f}"
                for field in ("p50", "p99", "p999")
            ]
            row = [result.row.name, name, f"{rate:,.0f}", *times]
            rows.append([*row, f"{100 * busy:.0f} %", f"{100 * load:.0f} %"])
    header = ["row", "loop", "answers a second", "p50, µs", "p99, µs", "p99.9, µs"]
    return table([*header, "server busy", "load busy"], rows)


def report(
    results: Sequence[ServerResult],
    peers: Sequence[str],
    *,
    facts: Sequence[str],
    rounds: int,
    seconds: float,
) -> list[str]:
    """Lay out the results."""
    names = [*peers, LIMIT]
    rows = [
        [f"{result.row.title} (`{result.row.name}`)", *_cells(result, names), *verdicts(result)]
        for result in results
    ]
    header = ["echo under a `Protocol`, unless said otherwise", *names]
    header += ["of the limit (at most)", f"times {REFERENCE} (at least)"]
    return [
        "# The loop under load: the server's CPU time for an answer",
        "",
        "Microseconds on the server's core for each answer, the server on one core and the load on"
        f" another: median [least..most] of {rounds} interleaved rounds of {seconds:g} s, each"
        " after a third of that to warm up. One request at a time on each connection, 10"
        " connections unless said otherwise; every byte is checked. The limit is a bare server in"
        " Rust on epoll (for TLS, with OpenSSL). Beside each ratio stands the bar of issue 4.",
        "",
        *facts,
        "",
        *table(header, rows),
        "",
        *notes([(result.row.name, result.unable) for result in results]),
        "What the same runs took by the clock, from request to whole answer:",
        "",
        *_flow(results),
    ]
