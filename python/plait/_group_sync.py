"""A task group of sync code: futures that are cancelled together."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait import _alarms
from plait._group_errors import Failure, Passed, late, leaving, lose
from plait._pickling.outbound import describe

if TYPE_CHECKING:
    from plait._engines.engine import Engine
    from plait._future import Future
    from plait._terms import Terms

__all__ = ["SyncGroup"]


class SyncGroup:
    """The children, and what becomes of them."""

    def __init__(self, timeout: float | None, grace: float) -> None:
        """Begin."""
        self._timeout = timeout
        self._grace = grace
        self._begun = time.monotonic()
        # Entered as a lock: see `plait._mapping.intake`.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._children: dict[Future[Any], str] = {}
        self._failed: list[Failure] = []
        # Those that were stopped by the group, and those that nobody can stop.
        self._stopped: list[str] = []
        self._beyond: set[Future[Any]] = set()
        # When it began to cancel its children.
        self._cancelled_at: float | None = None
        self._over = False
        self._alarm: _alarms.Alarm | None = None
        if timeout is not None:
            self._alarm = _alarms.call_at(self._begun + timeout, self._expire)

    def submit(
        self,
        engine: Engine,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
    ) -> Future[Any]:
        """Add a call, from any thread.

        Raises:
            RuntimeError: the group is ending.

        """
        with self._lock:
            if self._over or self._cancelled_at is not None:
                raise RuntimeError("the task group is ending and takes no more tasks")
        future = engine.submit(fn, args, kwargs, terms)
        with self._lock:
            self._children[future] = terms.name or describe(fn)
            cancelled = self._cancelled_at is not None
        future.add_done_callback(self._ended)
        if cancelled:
            self._stop(future)
        return future

    def _ended(self, future: Future[Any]) -> None:
        with self._changed:
            if self._over:
                # It went on beyond its grace: what it comes to can still be asked for.
                self._children.pop(future, None)
                self._beyond.discard(future)
                return
        error = None if future.cancelled() else future.exception()
        failed = error is not None and not isinstance(error, concurrent.futures.CancelledError)
        with self._lock:
            name = self._children.pop(future, "")
            late = self._over
            if failed:
                assert error is not None
                self._failed.append(Failure(error, name, _site(future)))
            self._changed.notify_all()
        if late:
            self._lose(None)
        elif failed:
            self._cancel()

    def _lose(self, raised: BaseException | None) -> None:
        """Report what has failed: nothing leaves the group, or only that."""
        with self._changed:
            failed, self._failed = self._failed, []
        lose(failed, raised)

    def _expire(self) -> None:
        with self._lock:
            if self._over:
                return
            self._failed.append(Failure(Passed()))
        self._cancel()

    def _cancel(self) -> None:
        with self._lock:
            if self._cancelled_at is not None:
                return
            self._cancelled_at = time.monotonic()
            children = list(self._children)
            self._stopped += self._children.values()
            self._changed.notify_all()
        for future in children:
            self._stop(future)

    def _stop(self, future: Future[Any]) -> None:
        if not future.cancel() and not future.done():
            with self._lock:
                self._beyond.add(future)
                self._changed.notify_all()

    def leave(self, error: BaseException | None) -> None:
        """Wait for the children, and raise what became of them.

        Raises:
            BaseException: that.

        """
        try:
            if error is not None:
                self._cancel()
            self._wait()
        except BaseException:
            # Ctrl-C: children are not left behind.
            self._cancel()
            self._wait()
            self._over = True
            self._lose(None)
            raise
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
        with self._lock:
            self._over = True
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            self._lose(error)
            return
        with self._changed:
            failed, self._failed = self._failed, []
        if error is not None:
            failed.append(Failure(error, "the block"))
        if failed:
            errors = [failure.error for failure in failed]
            elapsed = time.monotonic() - self._begun
            timeout = late(self._timeout or 0.0, elapsed, self._stopped)
            raise leaving(errors, failed, timeout, []) from None

    def _wait(self) -> None:
        """Wait until there are no children, but not for what nobody can stop."""
        with self._lock:
            while self._children:
                timeout = None
                if self._cancelled_at is not None and self._beyond.issuperset(self._children):
                    timeout = self._cancelled_at + self._grace - time.monotonic()
                    if timeout <= 0:
                        return
                self._changed.wait(timeout)


def _site(future: Future[Any]) -> tuple[str, int] | None:
    _, file, line = future._origin()
    return None if file is None or line is None else (file, line)
