"""Drawing advice from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plait._tour.program import Run
from plait._units import ratio, seconds_of

__all__ = ["NOISE", "Verdict", "overlap"]

#: What is within this share of the fastest is as fast.
NOISE = 0.10


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which methods were the fastest, and a sentence that says by how much."""

    gained: bool
    names: list[str]
    text: str


def overlap(runs: Sequence[Run]) -> Verdict:
    """Compare the runs of a program with the first, which does one thing after another."""
    plain, *others = [run for run in runs if run.track is not None]
    fastest = min(others, key=lambda run: run.seconds, default=plain)
    speed = plain.seconds / fastest.seconds
    if speed <= 1 + NOISE:
        text = (
            f"Stay with one after another ({seconds_of(plain.seconds)}): the best of the others, "
            f"{fastest.method.name}, took {seconds_of(fastest.seconds)} in this run."
        )
        return Verdict(False, [plain.method.name], text)
    near = [run for run in others if run.seconds <= fastest.seconds * (1 + NOISE)]
    names = [run.method.name for run in near]
    text = (
        f"Use {_either(names)}: {seconds_of(fastest.seconds)} against "
        f"{seconds_of(plain.seconds)} one after another, {ratio(speed)} the speed."
    )
    return Verdict(True, names, text)


def _either(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} or {names[-1]}"
