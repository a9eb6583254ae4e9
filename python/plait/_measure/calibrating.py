"""Measuring what each engine costs, in a process that does nothing else.

`plait._measure.machine` runs it and keeps what it prints. Each figure is the best of a few rounds:
what disturbs a round makes it longer, never shorter.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict
from itertools import repeat
from time import perf_counter, sleep

from plait import _all_engines
from plait._loop.run import run
from plait._measure.carriage import pickled
from plait._measure.load import Load
from plait._measure.machine import Overheads

__all__ = ["calibrate", "main"]

_ROUNDS = 3
#: Calls of a round.
_CALLS = 2_000
#: Calls made alone, of which one of the faster counts.
_TRIPS = 100
#: Items of a chunked map.
_ITEMS = 20_000
#: Threads that are started to learn what one takes.
_THREADS = 8
#: Bytes that are carried: more than any buffer that is there already.
_BYTES = 16_000_000
_TASKS = 3_000
#: So many cores taken by others disturb what is measured.
_BUSY = 0.3
#: Steps of a computation of about 10 ms.
_STEPS = 200_000


def main() -> None:
    """Print the figures, and whether the machine was busy, as one line of JSON."""
    load = Load.now()
    found = calibrate()
    others = Load.now().since(load)
    busy = others is not None and others > _BUSY
    print(json.dumps({"overheads": asdict(found), "busy": busy}))
    sys.stdout.flush()


def calibrate() -> Overheads:
    """Measure every engine; takes a second or two."""
    figures: dict[str, float] = {"serial_call": _best(_serial) / _CALLS}
    figures |= _threads()
    figures |= _lock()
    figures |= _processes()
    figures |= run(_tasks())
    memory = {name for name in figures if name.endswith("_memory")}
    integers = {name: int(figures.pop(name)) for name in memory}
    return Overheads(**figures, **integers)  # type: ignore[arg-type]  # by name, as they are typed


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few rounds."""
    return min(_timed(work) for _ in range(_ROUNDS))


def _timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _serial() -> None:
    for _ in repeat(None, _CALLS):
        _nothing()


def _threads() -> dict[str, float]:
    before = _resident(os.getpid())
    starts = []
    for _ in range(_ROUNDS):
        with _all_engines.ThreadPoolExecutor(_THREADS) as pool:
            starts.append(_timed(lambda pool=pool: _meet(pool, _THREADS)))  # type: ignore[misc]
            memory = _resident(os.getpid()) - before
    figures = {
        "thread_start": min(starts) / _THREADS,
        # The stack of a thread that does something has some pages more.
        "thread_memory": max(32_768.0, memory / _THREADS),
    }
    with _all_engines.ThreadPoolExecutor(2) as pool:
        _meet(pool, 2)
        return figures | {"thread_call": _handout(pool), "thread_trip": _trip(pool)}


def _lock() -> dict[str, float]:
    """Compute with the interpreter lock shared, and hand the lock back and forth."""
    alone, together = float("inf"), float("inf")
    for _ in range(2 * _ROUNDS):
        alone = min(alone, _timed(lambda: _compute(2 * _STEPS)))
        together = min(together, _timed(lambda: _both(lambda: _compute(_STEPS))))
    # More than a quarter is another program's doing.
    return {
        "contention": min(max(1.0, together / alone), 1.25),
        "lock_switch": min(_handed() for _ in range(_ROUNDS)),
    }


def _handed() -> float:
    """Seconds to hand the interpreter lock to a thread that waits for it."""
    turns = 100
    here, there = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in repeat(None, turns):
            there.acquire()
            here.release()

    thread = threading.Thread(target=answer)
    thread.start()
    start = perf_counter()
    for _ in repeat(None, turns):
        there.release()
        here.acquire()
    handed = (perf_counter() - start) / turns / 2
    thread.join()
    return handed


def _both(work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _processes() -> dict[str, float]:
    start = perf_counter()
    with _all_engines.ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result()
        first = perf_counter() - start
        memory = _resident(pid)
        figures = {
            "process_start": first,
            "worker_memory": float(memory),
            "process_call": _handout(pool),
            "process_trip": _trip(pool),
            "byte": _carried(pool),
        }
        pool.submit(_nothing_of, 0).result()
        items = _best(lambda: sum(pool.map(_nothing_of, range(_ITEMS), chunksize=200)))
    figures["process_item"] = min(items / _ITEMS, figures["process_call"])
    figures["worker_start"] = min(_further_workers() for _ in range(2))
    return figures


def _further_workers() -> float:
    """Seconds for each further worker of a pool that has one."""
    workers = 4
    with _all_engines.ProcessPoolExecutor(workers) as pool:
        seen = {pool.submit(_who).result()}
        start = perf_counter()
        while len(seen) < workers:
            found = [pool.submit(_who) for _ in range(workers)]
            seen.update(future.result() for future in found)
        return (perf_counter() - start) / (workers - 1)


def _carried(pool: Executor) -> float:
    """Seconds for one byte at one end of its way, there or back, pickling apart.

    Several at once, as calls are handed out: memory that is written for the first time takes
    longer than what has been written before.
    """
    payload = bytes(_BYTES)
    pickling = min(pickled(payload).seconds for _ in range(_ROUNDS))
    several = 4

    def carry() -> None:
        for future in [pool.submit(len, payload) for _ in range(several)]:
            future.result()

    times = [_timed(carry) / several for _ in range(_ROUNDS)]
    seconds = sum(times) / len(times) - pickling
    # Nothing is carried for nothing; both ends have a part in it.
    return max(seconds, 0.1 * times[0]) / _BYTES / 2


async def _tasks() -> dict[str, float]:
    times = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        await asyncio.gather(*(_nothing_later() for _ in range(_CALLS)))
        times.append(perf_counter() - start)
    gate = asyncio.Event()
    tracemalloc.start()
    tasks = [asyncio.ensure_future(gate.wait()) for _ in range(_TASKS)]
    await asyncio.sleep(0)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gate.set()
    await asyncio.gather(*tasks)
    return {"task": min(times) / _CALLS, "task_memory": memory / _TASKS}


def _handout(pool: Executor) -> float:
    """Seconds for each of many calls that do nothing."""

    def many() -> None:
        for future in [pool.submit(_nothing) for _ in repeat(None, _CALLS)]:
            future.result()

    return _best(many) / _CALLS


def _trip(pool: Executor) -> float:
    """Seconds for a call alone, there and back: a quarter of all are faster."""
    times = sorted(_timed(lambda: pool.submit(_nothing).result()) for _ in range(_TRIPS))
    return times[_TRIPS // 4]


def _meet(pool: Executor, width: int) -> None:
    barrier = threading.Barrier(width)
    for future in [pool.submit(barrier.wait, 30) for _ in range(width)]:
        future.result()


def _resident(pid: int) -> int:
    """Bytes of memory that a process has to itself (proc(5): resident less shared pages)."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        figures = file.read().split()
    return (int(figures[1]) - int(figures[2])) * os.sysconf("SC_PAGE_SIZE")


def _compute(steps: int) -> int:
    total = 0
    for step in range(steps):
        total += step
    return total


def _who() -> int:
    # Long enough that the other calls find the other workers.
    sleep(0.005)
    return os.getpid()


def _nothing() -> None:
    pass


def _nothing_of(_: int) -> int:
    return 0


async def _nothing_later() -> None:
    pass
