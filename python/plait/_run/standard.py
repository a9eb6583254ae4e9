"""The futures of the standard pools, which tell nobody of a failure that is lost."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import concurrent.futures.thread
import functools
from typing import Any

from plait import _lost
from plait._binding import native
from plait._standard_losses import exception, report

__all__ = ["watch"]

_Future: Any = concurrent.futures.Future


def watch() -> None:
    """Have futures of `concurrent.futures` report the exception that nobody asks for."""
    _Future._exception = exception
    _Future.__del__ = _finalize
    for module in (concurrent.futures.thread, concurrent.futures.process):
        item: Any = module._WorkItem
        item.__init__ = _naming(item.__init__)


def _naming(init: Any) -> Any:
    @functools.wraps(init)
    def __init__(self: Any, future: Any, task: Any, *rest: Any) -> None:
        init(self, future, task, *rest)
        # One tuple from 3.14 on.
        function = task[0] if isinstance(task, tuple) and task else task
        future._plait_name = _lost.name_of(function)

    return __init__


def _finalize(future: Any) -> None:
    if isinstance(future, native.Future):
        future._report_lost()
    else:
        report(future)
