"""What times a program, and what runs one inside a loop."""

import asyncio
import resource
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from loop.peers import Factory


class Watch:
    """Counts wall time, and time on a core: this process' and that of its dead children."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count while inside."""
        cpu, wall = _cpu(), time.perf_counter()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += _cpu() - cpu


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


Program = Callable[[Factory, int, Watch], None]


def inside(main: Callable[[int, Watch], Coroutine[Any, Any, None]]) -> Program:
    """Make a program of a coroutine that runs inside a new loop."""

    def program(make: Factory, count: int, watch: Watch) -> None:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(main(count, watch))

    return program
