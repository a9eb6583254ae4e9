"""What is done with a thread pool, and timed; every result is checked."""

import asyncio
import time

from pool.programs import WARM_UP, Figures
from pool.work import nothing
from threads.peers import Peer


def _warm(peer: Peer) -> None:
    handles = [peer.submit(nothing, number) for number in range(WARM_UP)]
    assert [peer.wait(handle) for handle in handles] == list(range(WARM_UP))


def bulk(peer: Peer, count: int) -> Figures:
    """Hand out no-ops one by one, then collect the results."""
    _warm(peer)
    cpu, begun = time.process_time(), time.perf_counter()
    handles = [peer.submit(nothing, number) for number in range(count)]
    results = [peer.wait(handle) for handle in handles]
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    assert results == list(range(count))
    return {"rate": count / seconds, "CPU": 1e6 * cpu / count}


def trip(peer: Peer, count: int) -> Figures:
    """Hand out one no-op after another, each when the last is back."""
    _warm(peer)
    times = []
    cpu = time.process_time()
    for number in range(count):
        begun = time.perf_counter()
        result = peer.wait(peer.submit(nothing, number))
        times.append(time.perf_counter() - begun)
        assert result == number
    cpu = time.process_time() - cpu
    times.sort()
    return {
        "p50": 1e6 * times[count // 2],
        "p99": 1e6 * times[count * 99 // 100],
        "CPU": 1e6 * cpu / count,
    }


def awaited(peer: Peer, count: int) -> Figures:
    """Await one no-op after another in a coroutine."""

    async def main() -> float:
        to_thread = peer.to_thread()
        for number in range(WARM_UP):
            await to_thread(nothing, number)
        begun = time.perf_counter()
        for number in range(count):
            assert await to_thread(nothing, number) == number
        return time.perf_counter() - begun

    return {"time": 1e6 * peer.run(main()) / count}


def gathered(peer: Peer, count: int) -> Figures:
    """Await many no-ops at once."""

    async def main() -> float:
        to_thread = peer.to_thread()
        for number in range(WARM_UP):
            await to_thread(nothing, number)
        begun = time.perf_counter()
        results = await asyncio.gather(*(to_thread(nothing, number) for number in range(count)))
        seconds = time.perf_counter() - begun
        assert results == list(range(count))
        return seconds

    return {"rate": count / peer.run(main())}
