"""What plait chooses for a row."""

import time
from typing import Any

import plait
from choice.rows import Arguments, Row


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
