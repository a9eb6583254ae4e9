"""The engines that the measured choice and the tour run on."""

from asyncio import run
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

__all__ = ["Executor", "ProcessPoolExecutor", "ThreadPoolExecutor", "cores", "run"]


def cores() -> int:
    """How many cores this program may use."""
    import os

    return len(os.sched_getaffinity(0))
