"""The rows of the table, with the bars of issue 6."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pool.peers import STANDARD
from pool.programs import Figures
from pool.rows import Bar, Unit
from threads import programs
from threads.peers import Peer


@dataclass(frozen=True)
class Row:
    """A program, the figures of it that are shown, and how often it repeats what it does."""

    name: str
    title: str
    # By the figure's name: its unit and its bar.
    figures: Mapping[str, tuple[Unit, Bar]]
    program: Callable[[Peer, int], Figures]
    count: int


# In half the time.
_HALF = Bar(times=2, of=STANDARD, ahead=True)
_AHEAD = Bar(ahead=True)

ROWS = (
    Row(
        "bulk",
        "no-ops, submitted one by one, results collected",
        {
            "rate": (Unit.TASKS, Bar(times=5, of=STANDARD, ahead=True)),
            "CPU": (Unit.MICROSECONDS, _AHEAD),
        },
        programs.bulk,
        20_000,
    ),
    Row(
        "trip",
        "one round trip",
        {
            "p50": (Unit.MICROSECONDS, _HALF),
            "p99": (Unit.MICROSECONDS, _AHEAD),
            "CPU": (Unit.MICROSECONDS, _AHEAD),
        },
        programs.trip,
        3_000,
    ),
    Row(
        "await",
        "awaited from a coroutine (`to_thread`), one at a time",
        {"time": (Unit.MICROSECONDS, _HALF)},
        programs.awaited,
        3_000,
    ),
    Row(
        "gather",
        "awaited from a coroutine (`to_thread`), 4,000 gathered",
        {"rate": (Unit.TASKS, Bar(times=4, of=STANDARD, ahead=True))},
        programs.gathered,
        4_000,
    ),
)
BY_NAME: Mapping[str, Row] = MappingProxyType({row.name: row for row in ROWS})
