"""Coroutines of several tasks, run at once in the worker's own event loop."""

import asyncio
import contextvars
import os
import sys
from collections.abc import Coroutine
from typing import Any

from plait._worker import coroutines

__all__ = ["start", "stepping", "tell"]

# The task, whether it has returned, what it has returned or raised, and what it has written.
_Ended = tuple[int, bool, Any, bytes | None]


class _Together:
    """Coroutines by the numbers of their tasks.

    Args:
        doorbell: an eventfd; there is something to do for the worker when it is readable.

    """

    def __init__(self, doorbell: int) -> None:
        self._loop = coroutines.event_loop()
        self._loop.add_reader(doorbell, os.eventfd_read, doorbell)
        self._tasks: dict[int, asyncio.Task[tuple[bool, Any]]] = {}
        self._coroutines: dict[int, Any] = {}
        self._numbers: dict[asyncio.Task[Any], int] = {}
        self._told: set[int] = set()
        self._ended: list[int] = []

    def start(self, number: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Have a coroutine run in the next turns, in a context of its own."""
        outcome = coroutines.outcome(coroutine)
        task = self._loop.create_task(outcome, context=contextvars.copy_context())
        self._tasks[number] = task
        self._coroutines[number] = coroutine
        self._numbers[task] = number
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._ended.append(self._numbers.pop(task))

    def stop(self, number: int) -> None:
        """Cancel a coroutine, unless it has ended or been told to stop."""
        task = self._tasks.get(number)
        if task is not None and self.tell(number):
            task.cancel()

    def tell(self, number: int) -> bool:
        """Note that a task is told to stop; false if it has been."""
        if number in self._told:
            return False
        self._told.add(number)
        return True

    def stepping(self) -> int:
        """Return the number of the task whose code runs at this moment, or 0."""
        task = asyncio.current_task(self._loop)
        return 0 if task is None else self._numbers.get(task, 0)

    def turn(self, wait: bool) -> list[_Ended]:
        """Turn the loop once.

        Args:
            wait: whether to wait until there is something to do.

        Returns:
            What has ended.

        """
        self._loop.turn(None if wait else 0)
        if not self._ended:
            return []
        ended, self._ended = self._ended, []
        return [self._outcome(number) for number in ended]

    def _outcome(self, number: int) -> _Ended:
        task, coroutine = self._tasks.pop(number), self._coroutines.pop(number)
        self._told.discard(number)
        try:
            well, value = task.result()
        except BaseException as error:
            # It was cancelled before its first step.
            coroutine.close()
            well, value = False, error
        # What captures it has been imported then.
        recording = sys.modules.get("plait._worker.recording")
        recorded = recording is not None and isinstance(coroutine, recording.Recorded)
        return number, well, value, coroutine.take() if recorded else None


_together: _Together | None = None


def start(doorbell: int) -> _Together:
    """Make what runs the coroutines of this worker."""
    global _together
    _together = _Together(doorbell)
    return _together


def stepping() -> int:
    """Return the number of the task whose coroutine runs at this moment, or 0."""
    return 0 if _together is None else _together.stepping()


def tell(number: int) -> bool:
    """Note that a task is told to stop; false if it has been."""
    return _together is not None and _together.tell(number)
