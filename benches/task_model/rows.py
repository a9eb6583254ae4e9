"""The rows of the table, with the bars of issue 6."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pool.peers import OURS
from pool.programs import Figures
from pool.rows import Bar, Unit
from task_model import programs
from task_model.programs import PARALLEL

PEERS = tuple(PARALLEL)


@dataclass(frozen=True)
class Row:
    """A program, the figures of it that are shown, and what it is given."""

    name: str
    title: str
    # By the figure's name: its unit and its bar.
    figures: Mapping[str, tuple[Unit, Bar]]
    program: Callable[[str, int], Figures]
    count: int
    # Who can do it.
    peers: tuple[str, ...] = PEERS


def _group(_: str, milliseconds: int) -> Figures:
    with tempfile.TemporaryDirectory() as directory:
        return programs.group(Path(directory), milliseconds / 1e3)


_LIMIT = Bar(most=150)

ROWS = (
    Row(
        "parallel",
        "twenty waits of 50 ms, each in a process of its own",
        {"first": (Unit.MILLISECONDS, _LIMIT), "again": (Unit.MILLISECONDS, _LIMIT)},
        programs.parallel,
        20,
    ),
    Row(
        "group",
        "five kinds of children of a group, until all are over after deadline and grace",
        {"late": (Unit.MILLISECONDS, Bar(most=50))},
        _group,
        500,
        (OURS,),
    ),
)
BY_NAME: Mapping[str, Row] = MappingProxyType({row.name: row for row in ROWS})
