"""Right and wrong, and what wrong costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from choice.measure import CORES, USUAL_THREADS, Result, chosen_way
from choice.methods import PROCESS, SERIAL, THREAD, named

# So much longer than the fastest a choice may take, and is right.
TOLERANCE = 1.10


@dataclass(frozen=True)
class Judged:
    """A choice beside the fastest way."""

    chosen: str
    fastest: str
    # The time of the chosen way, in times that of the fastest.
    regret: float

    @property
    def is_right(self) -> bool:
        """Whether it is the fastest, or within a tenth of it."""
        return self.regret <= TOLERANCE


def medians(result: Result) -> dict[str, float]:
    """Give the time of each way that ran, in seconds."""
    return {way: median(times) for way, times in result.times.items()}


def method_of(way: str) -> str:
    """Give the method of a way."""
    return way.partition("@")[0]


def judge(result: Result, chooser: str) -> Judged | None:
    """Hold a choice against the runs; None where there is no choice, or there are no runs.

    The two are compared round by round, so that a machine which is busy for a while is so for
    both. A choice that could not be run is as bad as the slowest way that could.
    """
    times, chosen = medians(result), chosen_way(result, chooser)
    if chosen is None or not times:
        return None
    fastest = min(times, key=times.__getitem__)
    ran = chosen if chosen in times else max(times, key=times.__getitem__)
    pairs = zip(result.times[ran], result.times[fastest], strict=True)
    return Judged(chosen, fastest, max(1.0, median(taken / least for taken, least in pairs)))


def always(results: Sequence[Result], method: str) -> float:
    """Give the mean regret of taking one method whatever the function is.

    In the usual number; what the method cannot run is run serially.
    """
    usual = {THREAD: USUAL_THREADS, PROCESS: CORES}.get(method, 1)
    found = []
    for result in results:
        if times := medians(result):
            way = named(method, min(usual, result.batch))
            found.append(times.get(way, times[SERIAL]) / min(times.values()))
    return fmean(found)


def mean_regret(judged: Sequence[Judged]) -> float:
    """Give the mean of what choices cost."""
    return fmean(each.regret for each in judged)
