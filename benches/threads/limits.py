"""What no pool can be ahead of: a call without one, and a bare hand-over between two threads."""

import asyncio
import threading
import time

import plait
from pool.limits import Limit
from pool.work import nothing

CALLS = 200_000
TRIPS = 5_000


def _calls() -> float:
    begun = time.perf_counter()
    for number in range(CALLS):
        nothing(number)
    return CALLS / (time.perf_counter() - begun)


def _trip() -> float:
    """Return the median of a hand-over by a bare lock, there and back, in microseconds."""
    there, back = threading.Lock(), threading.Lock()
    there.acquire()
    back.acquire()

    def answer() -> None:
        for _ in range(TRIPS):
            there.acquire()
            back.release()

    thread = threading.Thread(target=answer)
    thread.start()
    times = []
    for _ in range(TRIPS):
        begun = time.perf_counter()
        there.release()
        back.acquire()
        times.append(time.perf_counter() - begun)
    thread.join()
    return 1e6 * sorted(times)[TRIPS // 2]


def _turn() -> float:
    async def main() -> float:
        begun = time.perf_counter()
        for _ in range(CALLS):
            await asyncio.sleep(0)
        return 1e6 * (time.perf_counter() - begun) / CALLS

    return plait.run(main())


class Limits:
    """Measures a round at a time."""

    def __init__(self) -> None:
        """Have measured nothing."""
        self._calls = Limit("the call itself, without a pool", "calls/s")
        self._trip = Limit("two bare locks between two threads, there and back, p50", "µs")
        self._turn = Limit("one turn of plait's loop, awaited", "µs")
        self.all = (self._calls, self._trip, self._turn)

    def round(self) -> None:
        """Measure each once."""
        self._calls.values.append(_calls())
        self._trip.values.append(_trip())
        self._turn.values.append(_turn())
