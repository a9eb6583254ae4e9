"""The engines that the measured choice and the tour run on."""

from __future__ import annotations

from concurrent.futures import Executor

from plait import _cores
from plait._loop.run import run
from plait._processes import ProcessPoolExecutor
from plait._threads import ThreadPoolExecutor

__all__ = ["Executor", "ProcessPoolExecutor", "ThreadPoolExecutor", "cores", "run"]


def cores() -> int:
    """How many cores this program may use."""
    return _cores.usable()
