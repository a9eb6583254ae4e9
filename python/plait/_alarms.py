"""One thread that calls functions at their times.

What it calls is short: it starts something or stops something. At interpreter exit nobody waits
for times any more: what is left is called at once, while the pools still take calls.
"""

from __future__ import annotations

import heapq
import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import count

__all__ = ["Alarm", "call_at"]

_logger = logging.getLogger("plait")


class Alarm:
    """A call to come."""

    __slots__ = ("_calls",)

    def __init__(self, call: Callable[[], object]) -> None:
        """Have `call` called, once."""
        self._calls = [call]

    def cancel(self) -> bool:
        """Do without the call. Whether it will not come, nor has."""
        return self._take() is not None

    def ring(self) -> None:
        """Make the call, unless it was cancelled."""
        call = self._take()
        if call is None:
            return
        try:
            call()
        except Exception:
            _logger.exception("an error of plait's own, in a call at its time")

    def _take(self) -> Callable[[], object] | None:
        # One step under the interpreter lock: one thread gets it.
        try:
            return self._calls.pop()
        except IndexError:
            return None


class _Clock:
    def __init__(self) -> None:
        # Entered as a lock: see `plait._mapping.intake`.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, when: float, alarm: Alarm) -> None:
        with self._lock:
            stopped = self._stopped
            if not stopped:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="plait-alarms", daemon=True)
                    thread.start()
                    self._thread = thread
                heapq.heappush(self._alarms, (when, next(self._numbers), alarm))
                if self._alarms[0][2] is alarm:
                    self._condition.notify()
        if stopped:
            alarm.ring()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._stopped and (left := self._left()) != 0:
                    self._condition.wait(left)
                if self._stopped:
                    return
                alarm = heapq.heappop(self._alarms)[2]
            alarm.ring()

    def _left(self) -> float | None:
        """Tell how many seconds are left until the next alarm."""
        if not self._alarms:
            return None
        return max(0.0, min(self._alarms[0][0] - time.monotonic(), threading.TIMEOUT_MAX))

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._condition.notify()
            alarms, self._alarms = sorted(self._alarms), []
        if self._thread is not None:
            self._thread.join()
        for _, _, alarm in alarms:
            alarm.ring()


_clock = _Clock()


def call_at(when: float, call: Callable[[], object]) -> Alarm:
    """Have `call` called in a thread of plait's, at a time of `time.monotonic()`.

    Raises:
        RuntimeError: the system refuses another thread.

    """
    alarm = Alarm(call)
    _clock.add(when, alarm)
    return alarm


def _after_fork_in_child() -> None:
    # What is to come is the parent's, and so is who may hold the lock.
    global _clock
    _clock = _Clock()


threading._register_atexit(lambda: _clock.stop())  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
