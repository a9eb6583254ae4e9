"""What plait chooses for a row: asked beforehand, and decided under way."""

import time
from typing import Any

import plait
from choice.methods import mapped
from choice.rows import Arguments, Row

# Seconds that workers may take to start.
_PATIENCE = 60.0


def measured(row: Row, arguments: Arguments, batch: int, *, told: bool) -> dict[str, Any]:
    """Ask `plait.measure`.

    Args:
        row: whose function it is.
        arguments: those of each call.
        batch: how many calls are meant.
        told: whether it runs the methods for real and sees which is fastest.
    """
    options: dict[str, Any] = {"verify": True} if told else {}
    begun = time.perf_counter()
    found = plait.measure(row.function, *arguments, batch=batch, **options)
    return {
        "choice": found.best,
        "took": time.perf_counter() - begun,
        "seconds": dict(found.seconds),
        "workers": dict(found.workers),
        "held": found.signals.held if hasattr(found, "signals") else None,
        "wall": found.wall,
        "cpu": found.cpu,
        "waited": found.waited,
        "reason": found.reason,
    }


def decided(row: Row, arguments: Arguments, batch: int) -> dict[str, Any]:
    """Let `plait.map` decide, and ask what it was when it is over.

    It is the second map of a program that has used processes before: what it would rather have had
    in the first is up by then, as it is for the methods that it is held against.
    """
    plait.submit(int, on="process").result(_PATIENCE)
    for _ in range(2):
        seconds, count = mapped(row, arguments, batch)
        assert count == batch
    found = plait.explain(row.function)
    # All that were left at once after those that were measured is all of the batch at once.
    width = batch if found.width >= batch - found.measured else found.width
    return {
        "choice": found.decision,
        "workers": {found.decision: width},
        "took": seconds,
        "reason": found.reason,
    }
