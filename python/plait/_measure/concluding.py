"""Putting the estimates, and the runs that checked them, together to a measurement."""

from __future__ import annotations

from collections.abc import Mapping

from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.estimating import Estimates
from plait._measure.figures import Figures
from plait._measure.measurement import Measurement
from plait._measure.reading import Read
from plait._units import ratio, seconds_of

__all__ = ["conclude"]

#: A run that took so much longer or shorter than was estimated is a difference.
_DIFFERS = 1.25
#: Runs vary by this much: within it the cheaper engine is taken.
_NOISE = 0.10
#: From the cheapest to the dearest.
_ORDER = ("serial", "loop", "thread", "process")


def conclude(
    found: Read,
    estimated: Estimates,
    runs: Mapping[str, float | str],
    batch: int,
    budget: Budget,
    caution: str | None = None,
) -> Measurement:
    """Make the choice.

    Args:
        found: The signals.
        estimated: The estimates, the best one first.
        runs: The seconds that each engine really took, or why it could not run; empty if none was
            tried.
        batch: The number of calls.
        budget: What the calls were paid from.
        caution: Why the calls tell little about the function, if they do.
    """
    order = sorted(estimated.engines, key=lambda one: _ORDER.index(one.method))
    # In this process the function is warm by now; others are new to it.
    guesses = {
        one.method: one.seconds + (one.warm_up if one.method == "process" else 0.0) for one in order
    }
    ran = {method: run for method, run in runs.items() if isinstance(run, float)}
    reasons = dict(estimated.reasons)
    for method, run in runs.items():
        if isinstance(run, str):
            reasons[method] = run
            guesses.pop(method, None)
    seconds = {method: ran.get(method, guess) for method, guess in guesses.items()}
    best = estimated.engines[0].method
    if ran:
        # What was run is known; estimates do not compete with it.
        best = native.best_engine(list(ran.items()), _NOISE)
        if best != estimated.engines[0].method:
            reasons[best] = _by_the_runs(best, ran)
    order = [one for one in order if one.method in guesses]
    serial = seconds["serial"]
    reason = reasons[best] if caution is None else f"{reasons[best]}; but {caution}"
    return Measurement(
        best=best,
        reason=f"{reason[:1].upper()}{reason[1:]}.",
        seconds=Figures(seconds),
        speedup=Figures({method: serial / max(took, 1e-12) for method, took in seconds.items()}),
        memory=Figures({one.method: one.memory for one in order}),
        signals=found.signals,
        reasons=Figures(reasons),
        batch=batch,
        calls=budget.calls,
        workers=Figures({one.method: one.width for one in order}),
        chunk=Figures({one.method: one.chunk for one in order}),
        cold=Figures({one.method: one.cold for one in order}),
        estimated=Figures(guesses),
        verified=Figures(ran),
        differences=Figures(_differences(guesses, ran)),
        load=found.load,
    )


def _by_the_runs(best: str, ran: Mapping[str, float]) -> str:
    """Say why an engine is best that the estimates did not favour."""
    fastest = min(ran, key=lambda method: ran[method])
    if best == fastest:
        return "was the fastest when it was run for real"
    within = ran[best] / ran[fastest] - 1
    return f"took {within:.0%} more than the fastest ({fastest}) when run for real, and is cheaper"


def _differences(guesses: Mapping[str, float], ran: Mapping[str, float]) -> dict[str, str]:
    """Say where a run took much longer or much shorter than was estimated."""
    found = {}
    for method, took in ran.items():
        guess = guesses[method]
        if took > guess * _DIFFERS:
            told = f"{ratio(took / guess)} as long"
        elif guess > took * _DIFFERS:
            told = f"{ratio(took / guess)} of it"
        else:
            continue
        found[method] = f"{seconds_of(guess)} estimated, {seconds_of(took)} run: {told}"
    return found
