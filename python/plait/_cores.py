"""How many cores this process may keep busy."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping

__all__ = ["given", "share", "take_share", "told", "usable"]

# In a worker: the part of the cores that is its own. Pools inside it keep to it.
_share: int | None = None
# And what the numeric libraries have been told of it, by the variable.
_told: Mapping[bytes, bytes] = {}


def usable() -> int:
    """Return how many cores this process may keep busy, at least 1.

    In a worker of a pool it is the worker's share of the parent's cores. `PYTHON_CPU_COUNT` and
    `-X cpu_count` (Python 3.13) have the last word, as in `os.process_cpu_count`.
    """
    if _share is not None:
        return _share
    # Python 3.13 knows how many this process may use.
    told: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)
    affinity = len(os.sched_getaffinity(0))
    count = affinity if told is None else told() or 1
    if count != affinity:
        return count  # somebody has said so
    from plait._quota import quota  # a worker does without

    limit = quota()
    # A part of a core is rounded up: rounded down, it would never be used.
    return count if limit is None else max(1, min(count, math.ceil(limit)))


def share(workers: int) -> int:
    """Return how many cores each of so many workers has to itself, at least 1."""
    return max(1, usable() // workers)


def given() -> int | None:
    """Return the share that this process was given, `None` if it is no worker."""
    return _share


def take_share(cores: int | None, told: Mapping[bytes, bytes]) -> None:
    """Have this process, a worker, keep to so many cores.

    Args:
        cores: how many; None: as many as it can.
        told: what the variables of its environment say about it.

    """
    global _share, _told
    _share, _told = cores, told


def told(variable: bytes) -> bytes | None:
    """Return what the pool of this worker has set a variable to, `None` if it has not."""
    return _told.get(variable)
