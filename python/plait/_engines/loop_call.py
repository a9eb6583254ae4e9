"""A call of a coroutine function on an event loop, from its first attempt to its end.

Everything about it happens in the thread of its loop. Others only ask for it to be stopped.

An attempt is a task of the loop. What stops it is `Task.cancel`, repeated after each grace while
the coroutine goes on; from the first grace on nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Callable
from contextvars import Context
from typing import Any

from plait._engines.loop_future import LoopFuture
from plait._errors import Killed, TaskTimeout
from plait._loop.loop import EventLoop
from plait._pickling.outbound import describe
from plait._terms import Terms, pause

__all__ = ["LoopCall"]

_logger = logging.getLogger("plait")

# Those that have not ended: a loop alone does not hold its tasks.
_calls: dict[asyncio.AbstractEventLoop, set[LoopCall]] = {}
# Those of the processes that this one was forked from.
_inherited: list[object] = []

# A coroutine that swallows its cancellation is cancelled no more often than that, in seconds.
_LEAST_PAUSE = 0.05


class LoopCall:
    """A call, its attempts, its deadline.

    Args:
        loop: where it runs.
        fn: a coroutine function.
        args: its arguments.
        kwargs: its keywords.
        terms: on which it runs.
        context: in which; None: in a copy of the current one, when it starts.

    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
        context: Context | None = None,
    ) -> None:
        """Start nothing yet."""
        self.future = LoopFuture(loop, self)
        self.name = terms.name or describe(fn)
        self._loop = loop
        self._call = fn, args, kwargs
        self._terms = terms
        self._context = context
        self._made = 0
        self._task: asyncio.Task[Any] | None = None
        # The deadline, the end of a grace, or the end of a rest.
        self._timer: asyncio.TimerHandle | None = None
        self._begun = 0.0
        # How long it had run when it was stopped, and whether at its deadline.
        self._stopped_after: float | None = None
        self._is_late = False
        # Where the exception that stopped it was raised.
        self._place: str | None = None

    def start(self) -> None:
        """Make an attempt.

        Raises:
            RuntimeError: the loop is closed.

        """
        if not self._made:
            self._register()
        self._timer = None
        self._stopped_after = None
        self._made += 1
        coroutine = self._attempt()
        try:
            self._task = self._loop.create_task(coroutine, name=self.name, context=self._context)
        except BaseException:
            coroutine.close()
            raise
        self._task.add_done_callback(self._ended)

    def _register(self) -> None:
        for loop in [loop for loop in _calls if loop.is_closed()]:
            lose_calls(loop)
        calls = _calls.get(self._loop)
        if calls is None:
            calls = _calls[self._loop] = set()
            if isinstance(self._loop, EventLoop):
                self._loop._at_close = lose_calls
        calls.add(self)

    def _unregister(self) -> None:
        calls = _calls.get(self._loop)
        if calls is not None:
            calls.discard(self)
            if not calls:
                del _calls[self._loop]

    async def _attempt(self) -> Any:
        if self._made == 1 and not self.future.set_running_or_notify_cancel():
            return None
        self._begun = time.monotonic()
        if self._terms.timeout is not None:
            self._timer = self._loop.call_later(self._terms.timeout, self._expire)
        fn, args, kwargs = self._call
        try:
            return await fn(*args, **kwargs)
        except asyncio.CancelledError as error:
            if self._stopped_after is not None:
                # As text: the frames hold what the coroutine worked on.
                frames = error.__traceback__
                lines = traceback.format_tb(None if frames is None else frames.tb_next)
                self._place = "".join(lines).rstrip()
            raise
        finally:
            # Frames of an exception keep those below them, and this one has the future.
            del self, fn, args, kwargs

    def _expire(self) -> None:
        if self._task is not None and not self._task.done():
            self._is_late = True
            self._stop()

    def request_stop(self) -> bool:
        """Have it stopped, from any thread. False: its loop is closed."""
        if asyncio._get_running_loop() is self._loop:
            self.stop()
            return True
        try:
            self._loop.call_soon_threadsafe(self.stop)
        except RuntimeError:
            if self._loop.is_closed():
                return False
            raise
        return True

    def stop(self) -> None:
        """Stop it, in the thread of its loop, unless that is under way."""
        if self.future.done():
            return
        if self._task is None:
            # Between two attempts.
            self._disarm()
            self._end_stopped()
        elif self._stopped_after is None and not self._task.done():
            self._stop()
        else:
            # The deadline came first; there will be no other attempt.
            self._made = self._terms.retries + 1

    def _stop(self) -> None:
        assert self._task is not None
        self._disarm()
        self._stopped_after = time.monotonic() - self._begun
        self._task.cancel()
        self._timer = self._loop.call_later(self._terms.grace, self._insist)

    def _insist(self) -> None:
        task = self._task
        assert task is not None
        if not self.future.done():
            self._place = _place(task)
            _logger.warning(
                "%s swallows its cancellation: it still runs %g s later and is cancelled again",
                self.name,
                self._terms.grace,
            )
            self._end_stopped(abandoned=True)
        task.cancel()
        again = max(self._terms.grace, _LEAST_PAUSE)
        self._timer = self._loop.call_later(again, self._insist)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._disarm()
        self._task = None
        error = None if task.cancelled() else task.exception()
        if self.future.done():
            self._unregister()
            return
        if self._stopped_after is not None:
            if self._is_late and self._made <= self._terms.retries:
                self._is_late = False
                self._rest(None)
            else:
                self._end_stopped()
        elif task.cancelled():
            self._fail(Killed(self._by_others(), pid=os.getpid()))
        elif error is None:
            self._finish(task.result())
        elif self._made <= self._terms.retries and isinstance(error, self._terms.retry_on):
            self._rest(error)
        else:
            self._fail(error)

    def _rest(self, error: BaseException | None) -> None:
        try:
            seconds = pause(self._terms.backoff, self._made)
        except Exception as wrong:
            wrong.__context__ = error
            self._fail(wrong)
            return
        self._timer = self._loop.call_later(seconds, self.start)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, value: Any) -> None:
        self._unregister()
        if not self.future.done():
            self.future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if self._task is None:
            self._unregister()
        frames = error.__traceback__
        if frames is not None and frames.tb_frame.f_code is LoopCall._attempt.__code__:
            # Our frame holds the future.
            error.__traceback__ = frames.tb_next
        if not self.future.done():
            self.future._fail(self.name, error)

    def _end_stopped(self, *, abandoned: bool = False) -> None:
        elapsed = self._stopped_after or 0.0
        how = "by cancelling it"
        if abandoned:
            grace = self._terms.grace
            how = f"but swallows its cancellation, and still ran {grace:g} s later"
        if self._is_late:
            text = f"{self.name} was stopped at its timeout of {self._terms.timeout:g} s, {how}"
            text += "; if it needs longer, give plait.task a larger timeout"
            kind: type[TaskTimeout | Killed] = TaskTimeout
        else:
            text = f"{self.name} was cancelled when it had run for {elapsed:.3g} s, {how}"
            kind = Killed
        error = kind(text, pid=os.getpid(), elapsed=elapsed, abandoned=abandoned)
        if self._place:
            where = "It runs here" if abandoned else "It was stopped here"
            error.add_note(f"\n{where}:\n{self._place}")
        self._fail(error)

    def _by_others(self) -> str:
        return (
            f"{self.name} was cancelled by something on its event loop, perhaps by the loop's end"
        )

    def lose(self) -> None:
        """Say that nobody will run it any more."""
        self._fail(Killed(f"{self.name} cannot end: its event loop was closed", pid=os.getpid()))


def _place(task: asyncio.Task[Any]) -> str:
    """Tell where a coroutine waits, as the lines of a traceback."""
    frames = []
    coroutine: Any = task.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        coroutine = coroutine.cr_await
    # The first is ours.
    lines = traceback.StackSummary.extract(iter(frames[1:])).format()
    return "".join(lines).rstrip()


def lose_calls(loop: asyncio.AbstractEventLoop) -> None:
    """Say of a loop that it was closed."""
    for call in list(_calls.pop(loop, ())):
        call.lose()


def _after_fork_in_child() -> None:
    global _calls
    _inherited.append(_calls)
    _calls = {}


os.register_at_fork(after_in_child=_after_fork_in_child)
