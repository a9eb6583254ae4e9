"""The rows of the table, with the bars of issue 5."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MappingProxyType

from pool import programs
from pool.peers import MULTIPROCESSING, STANDARD, Peer

MB = programs.MB


class Unit(Enum):
    """What a figure counts, and whether more of it is better."""

    TASKS = "tasks/s"
    MICROSECONDS = "µs"
    MILLISECONDS = "ms"
    GIGABYTES = "GB/s"
    SERIAL = "times serial"
    SHARE = "share of the best schedule"

    @property
    def more_is_better(self) -> bool:
        """Whether a pool with a higher figure is ahead."""
        return self not in (Unit.MICROSECONDS, Unit.MILLISECONDS)


@dataclass(frozen=True)
class Bar:
    """What plait is to reach.

    `times` as good as the peer `of`, or as the best peer without it; or an absolute figure at
    `least` or at `most`; `ahead` says that no peer may be ahead as well.
    """

    times: float | None = None
    of: str | None = None
    least: float | None = None
    most: float | None = None
    ahead: bool = False


@dataclass(frozen=True)
class Row:
    """A program, the figures of it that are shown, and how often it repeats what it does."""

    name: str
    title: str
    # By the figure's name: its unit and its bar.
    figures: Mapping[str, tuple[Unit, Bar]]
    program: Callable[..., programs.Figures]
    count: int
    # The program is told whose pool it has.
    named: bool = False

    def run(self, peer: Peer, name: str, count: int) -> programs.Figures:
        """Do it once with a pool that has just been started."""
        return self.program(peer, count, name) if self.named else self.program(peer, count)


def _shuffled(items: list[float]) -> list[float]:
    return random.Random(1).sample(items, len(items))


def _descending(items: list[float]) -> list[float]:
    return sorted(items, reverse=True)


_TENTH = Bar(times=10, of=STANDARD)


def _tail(name: str, order: Callable[[list[float]], list[float]]) -> Row:
    return Row(
        f"tail-{name}",
        f"2,000 tasks of heavy-tailed size, {name}",
        {"ratio": (Unit.SHARE, Bar(least=0.95))},
        partial(programs.tail, order=order),
        2_000,
    )


def _carried(name: str, title: str, program: Callable[..., programs.Figures], times: float) -> Row:
    megabytes = 100 if "100" in title else 1
    return Row(
        name,
        title,
        {"gigabytes": (Unit.GIGABYTES, Bar(times=times))},
        partial(program, size=megabytes * MB),
        3 if megabytes == 100 else 100,
    )


ROWS = (
    Row(
        "bulk",
        "no-ops of three mixed arguments, submitted one by one, results collected",
        {"rate": (Unit.TASKS, Bar(times=30, of=STANDARD, ahead=True))},
        programs.bulk,
        20_000,
    ),
    Row(
        "trip",
        "one round trip",
        {
            "p50": (Unit.MICROSECONDS, _TENTH),
            "p99": (Unit.MICROSECONDS, Bar(times=5, of=STANDARD)),
        },
        programs.trip,
        3_000,
    ),
    Row(
        "await",
        "awaited from a coroutine, one at a time",
        {"time": (Unit.MICROSECONDS, _TENTH)},
        programs.awaited,
        2_000,
        named=True,
    ),
    Row(
        "gather",
        "awaited from a coroutine, 4,000 gathered",
        {"rate": (Unit.TASKS, _TENTH)},
        programs.gathered,
        4_000,
        named=True,
    ),
    _carried("bytes-100m", "100 MB of bytes there and back", programs.carry_bytes, 3),
    _carried("array-100m", "100 MB NumPy array there and back", programs.carry_array, 10),
    _carried("bytes-1m", "1 MB of bytes there and back", programs.carry_bytes, 4),
    Row(
        "map",
        "`map` of no-ops",
        {"rate": (Unit.TASKS, Bar(times=1, of=MULTIPROCESSING))},
        programs.mapped,
        200_000,
    ),
    Row(
        "sort",
        "merge sort of 100 lists of 30,000 in pure Python, carried both ways",
        {"ratio": (Unit.SERIAL, Bar(least=1.85, ahead=True))},
        programs.sort,
        100,
    ),
    _tail("shuffled", _shuffled),
    _tail("ascending", sorted),
    _tail("descending", _descending),
)
BY_NAME: Mapping[str, Row] = MappingProxyType({row.name: row for row in ROWS})
