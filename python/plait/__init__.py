"""Every asynchronous method of Python, each at its best, behind one task model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait._binding import DebugBuildWarning, native

if TYPE_CHECKING:
    from plait._errors import Killed, RemoteError, TaskTimeout, WorkerDied
    from plait._future import Future
    from plait._loop.loop import EventLoop
    from plait._loop.policy import install, uninstall
    from plait._loop.run import new_event_loop, run
    from plait._measure import Measurement, measure
    from plait._per_worker import PerWorker, per_worker
    from plait._pickling.sharing import Shared
    from plait._pool import Pool
    from plait._process.context import get_context
    from plait._process.process import Process
    from plait._processes import ProcessPoolExecutor
    from plait._statistics import PoolStatistics, ThreadPoolStatistics, WorkerStatistics
    from plait._stoppable import Thread
    from plait._task import task
    from plait._thread_pool import ThreadPool
    from plait._threads import ThreadPoolExecutor

__version__: str = native.__version__

__all__ = [
    "DebugBuildWarning",
    "EventLoop",
    "Future",
    "Killed",
    "Measurement",
    "PerWorker",
    "Pool",
    "PoolStatistics",
    "Process",
    "ProcessPoolExecutor",
    "RemoteError",
    "Shared",
    "TaskTimeout",
    "Thread",
    "ThreadPool",
    "ThreadPoolExecutor",
    "ThreadPoolStatistics",
    "WorkerDied",
    "WorkerStatistics",
    "get_context",
    "install",
    "measure",
    "new_event_loop",
    "per_worker",
    "run",
    "task",
    "uninstall",
]

# Where each name lives. Loaded when first used: a program that wants one
# engine does not pay for the others, and neither does a pool's worker.
_HOME = {
    "EventLoop": "plait._loop.loop",
    "Future": "plait._future",
    "Killed": "plait._errors",
    "Measurement": "plait._measure",
    "PerWorker": "plait._per_worker",
    "Pool": "plait._pool",
    "PoolStatistics": "plait._statistics",
    "Process": "plait._process.process",
    "ProcessPoolExecutor": "plait._processes",
    "RemoteError": "plait._errors",
    "Shared": "plait._pickling.sharing",
    "TaskTimeout": "plait._errors",
    "Thread": "plait._stoppable",
    "ThreadPool": "plait._thread_pool",
    "ThreadPoolExecutor": "plait._threads",
    "ThreadPoolStatistics": "plait._statistics",
    "WorkerDied": "plait._errors",
    "WorkerStatistics": "plait._statistics",
    "get_context": "plait._process.context",
    "install": "plait._loop.policy",
    "measure": "plait._measure",
    "new_event_loop": "plait._loop.run",
    "per_worker": "plait._per_worker",
    "run": "plait._loop.run",
    "task": "plait._task",
    "uninstall": "plait._loop.policy",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
