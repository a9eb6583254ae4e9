"""What is done with a pool, and timed; every result is checked."""

import asyncio
import importlib
import time
from collections.abc import Callable
from typing import Any

from child import Unable
from pool.peers import OURS, WORKERS, Peer
from pool.work import burn, heavy_tail, merge_sort, nothing, three

MB = 1_000_000
# So many tasks run before anything is timed: workers start, functions are known.
WARM_UP = 200
# So long, in seconds, a repetition may go on, or a pool that is a hundred times as slow as the
# next would take most of the time of a table.
BUDGET = 1.0
# What part of a repetition tells how fast a pool is; it is not timed otherwise.
PROBE = 20

Figures = dict[str, float]


def _warm(peer: Peer) -> None:
    calls = [(number,) for number in range(WARM_UP)]
    assert peer.batch(nothing, calls) == list(range(WARM_UP))
    peer.prepare(nothing, range(WARM_UP))


def affordable(work: Callable[[int], float], count: int) -> int:
    """Say how many of `count` repetitions the pool gets done in the time that there is.

    Args:
        work: repeats as often as it is told and returns the seconds that it took.
        count: more than these it never says.
    """
    part = max(1, count // PROBE)
    return min(count, max(part, int(part * BUDGET / work(part))))


def _rate(work: Callable[[int], float], count: int) -> Figures:
    count = affordable(work, count)
    return {"rate": count / work(count)}


def bulk(peer: Peer, count: int) -> Figures:
    """Hand out no-ops of three mixed arguments one by one, then collect the results."""
    _warm(peer)

    def work(count: int) -> float:
        calls = [(number, f"task {number}", number / 3) for number in range(count)]
        begun = time.perf_counter()
        results = peer.batch(three, calls)
        seconds = time.perf_counter() - begun
        assert results == calls
        return seconds

    return _rate(work, count)


def trip(peer: Peer, count: int) -> Figures:
    """Hand out one no-op after another, each when the last is back."""
    _warm(peer)
    times: list[float] = []

    def work(count: int) -> float:
        times.clear()
        for number in range(count):
            begun = time.perf_counter()
            result = peer.wait(peer.submit(nothing, number))
            times.append(time.perf_counter() - begun)
            assert result == number
        return sum(times)

    count = affordable(work, count)
    work(count)
    times.sort()
    return {"p50": 1e6 * times[count // 2], "p99": 1e6 * times[count * 99 // 100]}


def _on_a_loop(name: str, main: Any) -> Any:
    if name != OURS:
        return asyncio.run(main)
    import plait

    return plait.run(main)


def awaited(peer: Peer, count: int, name: str) -> Figures:
    """Await one no-op after another in a coroutine."""
    _warm(peer)
    executor = peer.executor()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        for number in range(WARM_UP):
            await loop.run_in_executor(executor, nothing, number)
        begun = time.perf_counter()
        for number in range(count):
            assert await loop.run_in_executor(executor, nothing, number) == number
        return time.perf_counter() - begun

    return {"time": 1e6 * _on_a_loop(name, main()) / count}


def gathered(peer: Peer, count: int, name: str) -> Figures:
    """Await many no-ops at once."""
    _warm(peer)
    executor = peer.executor()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        calls = (loop.run_in_executor(executor, nothing, number) for number in range(count))
        results = await asyncio.gather(*calls)
        seconds = time.perf_counter() - begun
        assert results == list(range(count))
        return seconds

    return {"rate": count / _on_a_loop(name, main())}


def _carry(peer: Peer, data: Any, count: int, size: int, same: Callable[[Any], bool]) -> Figures:
    _warm(peer)
    assert same(peer.wait(peer.submit(nothing, data)))
    result = None

    def work(count: int) -> float:
        nonlocal result
        begun = time.perf_counter()
        for _ in range(count):
            result = peer.wait(peer.submit(nothing, data))
        return time.perf_counter() - begun

    count = affordable(work, count)
    seconds = work(count)
    assert same(result)
    return {"gigabytes": 2 * size * count / seconds / 1e9}


def carry_bytes(peer: Peer, count: int, size: int) -> Figures:
    """Send bytes there and back."""
    data = bytes(range(256)) * (size // 256)
    return _carry(peer, data, count, len(data), lambda back: bool(back == data))


def carry_array(peer: Peer, count: int, size: int) -> Figures:
    """Send a NumPy array there and back."""
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise Unable("NumPy is not installed for this interpreter") from None

    data = numpy.arange(size // 8, dtype=numpy.float64)
    return _carry(peer, data, count, data.nbytes, lambda back: bool((back == data).all()))


def mapped(peer: Peer, count: int) -> Figures:
    """Map a no-op over numbers with the pool's own map."""
    _warm(peer)

    def work(count: int) -> float:
        items = list(range(count))
        begun = time.perf_counter()
        results = peer.map(nothing, items)
        seconds = time.perf_counter() - begun
        assert results == items
        return seconds

    return _rate(work, count)


def sort(peer: Peer, count: int) -> Figures:
    """Sort lists of 30,000 numbers, which travel both ways; how many times as fast as serial."""
    _warm(peer)
    lists = [[(number * 7919 + seed) % 30_011 for number in range(30_000)] for seed in range(count)]
    # The lists are as long as one another: some of them tell how long all take.
    part = max(1, count // 8)

    def serial() -> float:
        begun = time.perf_counter()
        for values in lists[:part]:
            merge_sort(values)
        return (time.perf_counter() - begun) * count / part

    before = serial()
    begun = time.perf_counter()
    results = peer.map(merge_sort, lists)
    together = time.perf_counter() - begun
    assert results == [sorted(values) for values in lists]
    return {"ratio": (before + serial()) / 2 / together}


def tail(peer: Peer, count: int, order: Callable[[list[float]], list[float]]) -> Figures:
    """Map over tasks of very unequal length; the share of the best schedule's speed."""
    _warm(peer)
    items = order(heavy_tail(count))
    begun = time.perf_counter()
    results = peer.map(burn, items)
    seconds = time.perf_counter() - begun
    assert results == items
    return {"ratio": max(sum(items) / WORKERS, max(items)) / seconds}
