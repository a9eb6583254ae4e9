"""Attempts that follow one another, for engines that make one each time they are asked."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from plait import _alarms
from plait._engines.own import OwnFuture
from plait._errors import Killed, TaskTimeout, WorkerDied
from plait._terms import Terms, pause

__all__ = ["Attempts"]


class Attempts(OwnFuture):
    """The outcome of the last attempt.

    Args:
        start: makes an attempt, whose outcome its future has.
        terms: how often, upon what and after which pauses to try again.
        name: what the task is called.

    Raises:
        Exception: what `start` raised.

    """

    def __init__(
        self, start: Callable[[], concurrent.futures.Future[Any]], terms: Terms, name: str
    ) -> None:
        """Make the first attempt."""
        super().__init__()
        self._start = start
        self._terms = terms
        self._name = name
        self._made = 1
        # Held for single steps, never while anything is called.
        self._lock = threading.Lock()
        # Whether somebody wants no other attempt.
        self._unwanted = False
        self._alarm: _alarms.Alarm | None = None
        self._current: concurrent.futures.Future[Any] | None = start()
        self._current.add_done_callback(self._ended)

    def cancel(self) -> bool:
        """Make no other attempt, and cancel the one that is made."""
        self._check_here()
        with self._lock:
            unwanted, self._unwanted = self._unwanted, True
            current, alarm = self._current, self._alarm
        if self.done():
            return self.cancelled()
        if current is not None:
            # One that has just ended is not followed by another.
            if current.cancel() or current.done():
                return True
            with self._lock:
                # What cannot be stopped goes on, and may be followed by others.
                self._unwanted = unwanted
            return self.cancelled()
        if alarm is not None and alarm.cancel():
            self._end_killed()
        return True

    def running(self) -> bool:
        """Whether an attempt has begun, and not the last one ended."""
        current = self._current
        return not self.done() and (self._made > 1 or (current is not None and current.running()))

    def _ended(self, attempt: concurrent.futures.Future[Any]) -> None:
        if attempt.cancelled():
            if self._made == 1:
                super().cancel()
            else:
                self._end_killed()
            self._let_go()
            return
        error = attempt.exception()
        if error is None:
            self._end(lambda: self.set_result(attempt.result()))
        elif self._is_last(error):
            self._end(lambda: self._fail(self._name, error))
        else:
            self._rest(error)

    def _is_last(self, error: BaseException) -> bool:
        if self._unwanted or self._made > self._terms.retries or isinstance(error, Killed):
            return True
        if isinstance(error, TaskTimeout):
            return error.abandoned
        return not isinstance(error, (WorkerDied, *self._terms.retry_on))

    def _rest(self, error: BaseException) -> None:
        try:
            seconds = pause(self._terms.backoff, self._made)
        except Exception as wrong:
            wrong.__context__ = error
            self._end(partial(self._fail, self._name, wrong))
            return
        with self._lock:
            self._current = None
            unwanted = self._unwanted
            if not unwanted and seconds > 0:
                self._alarm = _alarms.call_at(
                    time.monotonic() + seconds, lambda: self._try_again(error)
                )
        if unwanted:
            self._end_killed()
        elif seconds == 0:
            self._try_again(error)

    def _try_again(self, before: BaseException) -> None:
        if self.done():
            return
        self._made += 1
        try:
            attempt = self._start()
        except Exception as error:
            before.add_note(f"It was not tried again: {error}")
            self._end(lambda: self._fail(self._name, before))
            return
        with self._lock:
            self._alarm = None
            self._current = attempt
            unwanted = self._unwanted
        attempt.add_done_callback(self._ended)
        if unwanted:
            attempt.cancel()

    def _end_killed(self) -> None:
        text = f"{self._name} was cancelled after {self._made} attempts, and not tried again"
        self._end(lambda: self._fail(self._name, Killed(text)))

    def _let_go(self) -> None:
        """Hold nothing of the call any more."""
        self._current = self._alarm = None
        self.__dict__.pop("_start", None)
