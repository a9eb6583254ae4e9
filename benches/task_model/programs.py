"""What is done with tasks, and timed; what comes of each is checked.

Nothing here is imported before the clock runs that a user's program would have to import.
"""

import concurrent.futures
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    import plait

Figures = dict[str, float]

# What each of the calls in parallel waits for, in seconds.
WAIT = 0.05
# Longer than any group here lives, in seconds.
LONG = 2.0
GRACE = 0.2


def _plait(count: int) -> None:
    import plait

    outcomes = plait.parallel(time.sleep, [WAIT] * count)
    assert [outcome.ok for outcome in outcomes] == [True] * count


def _executor(count: int) -> None:
    with concurrent.futures.ProcessPoolExecutor(count) as pool:
        assert list(pool.map(time.sleep, [WAIT] * count)) == [None] * count


def _processes(count: int) -> None:
    import multiprocessing

    processes = [multiprocessing.Process(target=time.sleep, args=(WAIT,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


PARALLEL: dict[str, Callable[[int], None]] = {
    "concurrent.futures": _executor,
    "multiprocessing": _processes,
    "plait": _plait,
}


def parallel(peer: str, count: int) -> Figures:
    """Wait in so many processes at once: the first time in this program, and once more."""
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        PARALLEL[peer](count)
        times.append(1e3 * (time.perf_counter() - begun))
    return {"first": times[0], "again": times[1]}


def _spin(begun: "threading.Event") -> None:
    begun.set()
    while True:
        pass


def _sleep(begun: "threading.Event") -> None:
    begun.set()
    time.sleep(LONG)


def _burn(begun: Path) -> None:
    begun.touch()
    while True:
        pass


def _block(begun: Path) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _burn(begun)


def group(directory: Path, timeout: float) -> Figures:
    """Let the deadline of a group stop each of the five kinds of children."""
    import asyncio
    import threading

    import plait

    async def main(
        processes: "plait.ProcessPoolExecutor", threads: "plait.ThreadPoolExecutor"
    ) -> float:
        begun = [threading.Event(), threading.Event()]
        files = [directory / "one", directory / "two"]
        futures = []
        start = time.perf_counter()
        try:
            async with plait.TaskGroup(timeout=timeout, grace=GRACE) as group:
                coroutine = group.create_task(asyncio.sleep(LONG))
                for fn, event in zip((_spin, _sleep), begun, strict=True):
                    futures.append(group.submit(fn, event, on=threads))
                for work, file in zip((_burn, _block), files, strict=True):
                    futures.append(group.submit(work, file, on=processes))
        except plait.TaskTimeout:
            took = time.perf_counter() - start
        assert coroutine.cancelled()
        assert all(isinstance(future.exception(0), plait.Killed) for future in futures)
        assert all(event.is_set() for event in begun)
        assert all(file.exists() for file in files)
        return took

    with plait.ProcessPoolExecutor(2) as processes, plait.ThreadPoolExecutor(2) as threads:
        # All workers are there.
        for pool in (processes, threads):
            concurrent.futures.wait([pool.submit(time.sleep, 0.02) for _ in range(4)])
        took = plait.run(main(processes, threads))
    return {"late": 1e3 * (took - timeout - GRACE)}
