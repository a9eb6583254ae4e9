"""The tour in the terminal: each run as it ends, and one table of all."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from plait import _all_engines
from plait._binding import native
from plait._tour.program import Program, Run
from plait._units import ratio, seconds_of

__all__ = ["Report", "machine"]


def machine() -> str:
    """Describe what the numbers were measured on."""
    build = "a debug build of plait" if native.DEBUG_BUILD else "plait"
    cores = _all_engines.cores()
    return (
        f"{build} {native.__version__}, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.release()} on "
        f"{platform.machine()}, {cores} core{'s' if cores != 1 else ''}"
    )


class Report:
    """What is printed, in the order in which it is known."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def opening(self) -> None:
        """Say what follows."""
        self._console.print(Text("plait tour", style="bold"))
        self._console.print(
            f"The known programs of the field under every method that runs them, on {machine()}. "
            "Every number below is measured in this run; the start of a pool counts.",
            style="dim",
        )

    def program(self, number: int, program: Program) -> None:
        """Begin a program."""
        title = Text.assemble((f"\n{number}. {program.title}", "bold"))
        self._console.print(title)
        self._console.print(Padding(Text(program.about, style="dim"), (0, 0, 0, 3)))

    def running(self, name: str) -> None:
        """Show in a terminal what is running now, until the next line is printed.

        No spinner: its thread would run beside what is measured.
        """
        if self._console.is_terminal:
            self._console.print(f"   {name} ...", style="dim", end="\r")

    def run(self, run: Run, first: Run) -> None:
        """Print one run."""
        grid = Table.grid(padding=(0, 2))
        for width, justify in ((28, "left"), (7, "left"), (7, "right"), (6, "right")):
            grid.add_column(width=width, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        grid.add_column()
        grid.add_row(*_cells(run, first))
        self._console.print(Padding(grid, (0, 0, 0, 3)))

    def advice(self, text: str) -> None:
        """Print what to use, and why."""
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("->", style="bold green"), Text(text))
        self._console.print(Padding(grid, (0, 0, 0, 3)))

    def table(self, results: Sequence[tuple[Program, Sequence[Run]]]) -> None:
        """Print everything in one table."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("program and method", no_wrap=True)
        table.add_column("on")
        table.add_column("wall time", justify="right", no_wrap=True)
        table.add_column("speed", justify="right", no_wrap=True)
        table.add_column("outcome")
        for program, runs in results:
            table.add_row(Text(program.title, style="bold"))
            for run in runs:
                name, *rest = _cells(run, runs[0])
                table.add_row(Text("  ") + name, *rest)
            if program is not results[-1][0]:
                table.add_row()
        self._console.print()
        self._console.print(table)

    def closing(self, picture: str, failed: int) -> None:
        """Say where the picture is, and whether all went well."""
        where = Text.assemble("What ran where and when: ", (picture, "bold"))
        self._console.print(where, soft_wrap=True)
        if failed:
            plural = "check" if failed == 1 else "checks"
            self._console.print(f"{failed} {plural} failed.", style="bold red")


def _cells(run: Run, first: Run) -> list[Text]:
    name = Text(run.method.name)
    if run.outcome is None:
        return [name, Text("-"), Text("-"), Text(""), Text(run.method.missing or "", style="dim")]
    style = "bold red" if run.failed else ""
    speed = first.seconds / run.seconds if run.seconds else float("inf")
    return [
        name,
        Text(run.method.engine),
        Text(seconds_of(run.seconds)),
        Text(ratio(speed)),
        Text(f"{run.outcome.text}{': WRONG' if run.failed else ''}", style=style),
    ]
