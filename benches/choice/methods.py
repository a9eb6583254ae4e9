"""A batch, run by each method as its user would run it, and timed."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import repeat
from typing import Any

import plait
from choice.rows import Arguments, Row
from rounds import rotated

SERIAL, THREAD, PROCESS, LOOP = "serial", "thread", "process", "loop"
METHODS = (SERIAL, THREAD, PROCESS, LOOP)
# Seconds that workers may take to start.
_PATIENCE = 60.0

# Runs the batch, and returns its results.
Runner = Callable[[], Sequence[Any]]


def columns(arguments: Arguments, batch: int) -> list[list[Any]]:
    """Make the inputs of a map: for each argument, so many times the same."""
    return [[argument] * batch for argument in arguments]


def warm_threads(pool: plait.ThreadPoolExecutor, width: int) -> None:
    """Have every thread started: they all wait for each other."""
    barrier = threading.Barrier(width)
    for future in [pool.submit(barrier.wait, _PATIENCE) for _ in range(width)]:
        future.result()


def warm_processes(pool: plait.ProcessPoolExecutor, width: int) -> None:
    """Have every worker started, whatever it will be asked to call."""
    seen: set[int] = set()
    end = time.monotonic() + _PATIENCE
    while len(seen) < width:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(seen)} of {width} workers showed up")
        seen.update(future.result() for future in [pool.submit(_worker) for _ in range(width)])


def _worker() -> int:
    import os

    # Long enough that the other calls find the other workers.
    time.sleep(0.005)
    return os.getpid()


@contextmanager
def _serial(row: Row, arguments: Arguments, batch: int, width: int) -> Iterator[Runner]:
    yield lambda: [row.function(*arguments) for _ in repeat(None, batch)]


@contextmanager
def _threads(row: Row, arguments: Arguments, batch: int, width: int) -> Iterator[Runner]:
    inputs = columns(arguments, batch)
    with plait.ThreadPoolExecutor(width) as pool:
        warm_threads(pool, width)
        yield lambda: list(pool.map(row.function, *inputs))


@contextmanager
def _processes(row: Row, arguments: Arguments, batch: int, width: int) -> Iterator[Runner]:
    inputs = columns(arguments, batch)
    with plait.ProcessPoolExecutor(width) as pool:
        warm_processes(pool, width)
        if not row.cold_workers:
            # As in a program that has used it before: it is imported, its arguments have a place.
            list(pool.map(row.function, *columns(arguments, 2 * width), chunksize=1))
        yield lambda: list(pool.map(row.function, *inputs))


@contextmanager
def _one_by_one(row: Row, arguments: Arguments, batch: int, width: int) -> Iterator[Runner]:
    async def main() -> list[Any]:
        return [await row.function(*arguments) for _ in repeat(None, batch)]

    yield lambda: plait.run(main())


@contextmanager
def _gathered(row: Row, arguments: Arguments, batch: int, width: int) -> Iterator[Runner]:
    async def main() -> list[Any]:
        return await asyncio.gather(*(row.function(*arguments) for _ in repeat(None, batch)))

    yield lambda: plait.run(main())


_FUNCTIONS = {SERIAL: _serial, THREAD: _threads, PROCESS: _processes}
_COROUTINES = {SERIAL: _one_by_one, LOOP: _gathered}


class Runs:
    """The batch of a row under every method that can run it, in turn."""

    def __init__(self, row: Row, arguments: Arguments, batch: int) -> None:
        """Have run nothing."""
        self.unable: dict[str, str] = {}
        self.times: dict[str, list[float]] = {}
        self._row, self._arguments, self._batch = row, arguments, batch
        self._expected: Sequence[Any] | None = None

    def rounds(self, ways: Sequence[tuple[str, int]], rounds: int) -> None:
        """Run the batch in every way in turn, so many times.

        Args:
            ways: the method and how many calls it has under way at once.
            rounds: another way begins each.
        """
        with ExitStack() as stack:
            runners: dict[str, tuple[str, int, Runner | None]] = {}
            for method, width in ways:
                name = named(method, width)
                if self._row.cold_workers and method == PROCESS:
                    runners[name] = method, width, None
                    continue
                try:
                    runner = stack.enter_context(self._open(method, width))
                except Exception as error:
                    self.unable[method] = f"{type(error).__name__}: {error}".splitlines()[0]
                else:
                    runners[name] = method, width, runner
            for turn in range(rounds):
                for name in rotated([*runners], turn):
                    method, width, kept = runners[name]
                    if kept is not None:
                        seconds = self._timed(kept)
                    else:
                        with self._open(method, width) as fresh:
                            seconds = self._timed(fresh)
                    self.times.setdefault(name, []).append(seconds)

    def _open(self, method: str, width: int) -> Any:
        table = _COROUTINES if self._row.coroutine else _FUNCTIONS
        return table[method](self._row, self._arguments, self._batch, width)

    def _timed(self, runner: Runner) -> float:
        begun = time.perf_counter()
        results = runner()
        seconds = time.perf_counter() - begun
        if self._expected is None:
            self._expected = results
        assert list(results) == list(self._expected)
        return seconds


def named(method: str, width: int) -> str:
    """Name a way: threads and processes by their number too."""
    return f"{method}@{width}" if method in (THREAD, PROCESS) else method


def mapped(row: Row, arguments: Arguments, batch: int) -> tuple[float, int]:
    """Time a `plait.map` that chooses for itself; tell also how many results it gave."""
    inputs = columns(arguments, batch)
    begun = time.perf_counter()
    with closing(plait.map(row.function, *inputs)) as results:
        count = sum(1 for _ in results)
    return time.perf_counter() - begun, count
