"""The tour: the known programs of the field, under every method that can run them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from plait._tour import fetch, messages, sort, stall, update
from plait._tour.options import Options
from plait._tour.picture import draw
from plait._tour.program import Method, Program, Run, Track
from plait._tour.report import Report
from plait._tour.site import Site

__all__ = ["Options", "run"]


def run(options: Options, console: Console) -> bool:
    """Run all programs, print what came of them, and write the picture.

    Returns:
        Whether every check succeeded.

    Raises:
        OSError: The picture cannot be written.
    """
    report = Report(console)
    report.opening()
    results: list[tuple[Program, Sequence[Run]]] = []
    with Site(options.delay) as site:
        programs = [
            *fetch.programs(site, options.delay),
            messages.program(options.scale),
            stall.program(options.scale),
            sort.program(options.lists, options.numbers),
            update.program(options.scale),
        ]
        for number, program in enumerate(programs, 1):
            report.program(number, program)
            results.append((program, _run(program, report)))
    report.table(results)
    options.picture.write_text(draw(results), encoding="utf-8")
    failed = sum(run.failed for _, runs in results for run in runs)
    report.closing(str(options.picture), failed)
    return not failed


def _run(program: Program, report: Report) -> list[Run]:
    runs: list[Run] = []
    for method in program.methods:
        report.running(method.name)
        runs.append(_try(method))
        report.run(runs[-1], runs[0])
    report.advice(program.advise(runs))
    return runs


def _try(method: Method) -> Run:
    if method.missing is not None:
        return Run(method)
    track = Track(method.engine)
    outcome = method.run(track)
    return Run(method, track, outcome)
