"""Every asynchronous method of Python, each at its best, behind one task model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait._binding import DebugBuildWarning, native

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait._auto.effects import Effect
    from plait._auto.explanation import Explanation, explain
    from plait._engines.defaults import default_executor, set_default_executor
    from plait._errors import Killed, RemoteError, TaskTimeout, WorkerDied
    from plait._future import Future
    from plait._group import TaskGroup
    from plait._loop.loop import EventLoop
    from plait._loop.policy import install, uninstall
    from plait._loop.run import new_event_loop, run
    from plait._lost import LostArgs, __losthook__
    from plait._map import Map, map  # noqa: A004 - not for use in here
    from plait._measure import Measurement, Signals, measure
    from plait._parallel import Outcome, parallel
    from plait._per_worker import PerWorker, per_worker
    from plait._pickling.sharing import Shared
    from plait._pool import Pool
    from plait._process.context import get_context
    from plait._process.process import Process
    from plait._processes import ProcessPoolExecutor
    from plait._statistics import PoolStatistics, ThreadPoolStatistics, WorkerStatistics
    from plait._stoppable import Thread
    from plait._submit import submit
    from plait._task import task
    from plait._thread_pool import ThreadPool
    from plait._threads import ThreadPoolExecutor

    losthook: Callable[[LostArgs], object]

__version__: str = native.__version__

__all__ = [
    "DebugBuildWarning",
    "Effect",
    "EventLoop",
    "Explanation",
    "Future",
    "Killed",
    "LostArgs",
    "Map",
    "Measurement",
    "Outcome",
    "PerWorker",
    "Pool",
    "PoolStatistics",
    "Process",
    "ProcessPoolExecutor",
    "RemoteError",
    "Shared",
    "Signals",
    "TaskGroup",
    "TaskTimeout",
    "Thread",
    "ThreadPool",
    "ThreadPoolExecutor",
    "ThreadPoolStatistics",
    "WorkerDied",
    "WorkerStatistics",
    "__losthook__",
    "default_executor",
    "explain",
    "get_context",
    "install",
    "losthook",
    "map",
    "measure",
    "new_event_loop",
    "parallel",
    "per_worker",
    "run",
    "set_default_executor",
    "submit",
    "task",
    "uninstall",
]

# Where each name lives. Loaded when first used: a program that wants one
# engine does not pay for the others, and neither does a pool's worker.
_HOME = {
    "Effect": "plait._auto.effects",
    "EventLoop": "plait._loop.loop",
    "Explanation": "plait._auto.explanation",
    "Future": "plait._future",
    "Killed": "plait._errors",
    "LostArgs": "plait._lost",
    "Map": "plait._map",
    "Measurement": "plait._measure",
    "Outcome": "plait._parallel",
    "PerWorker": "plait._per_worker",
    "Pool": "plait._pool",
    "PoolStatistics": "plait._statistics",
    "Process": "plait._process.process",
    "ProcessPoolExecutor": "plait._processes",
    "RemoteError": "plait._errors",
    "Shared": "plait._pickling.sharing",
    "Signals": "plait._measure",
    "TaskGroup": "plait._group",
    "TaskTimeout": "plait._errors",
    "Thread": "plait._stoppable",
    "ThreadPool": "plait._thread_pool",
    "ThreadPoolExecutor": "plait._threads",
    "ThreadPoolStatistics": "plait._statistics",
    "WorkerDied": "plait._errors",
    "WorkerStatistics": "plait._statistics",
    "__losthook__": "plait._lost",
    "default_executor": "plait._engines.defaults",
    "explain": "plait._auto.explanation",
    "get_context": "plait._process.context",
    "install": "plait._loop.policy",
    "losthook": "plait._lost",
    "map": "plait._map",
    "measure": "plait._measure",
    "new_event_loop": "plait._loop.run",
    "parallel": "plait._parallel",
    "per_worker": "plait._per_worker",
    "run": "plait._loop.run",
    "set_default_executor": "plait._engines.defaults",
    "submit": "plait._submit",
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
