"""A thread that can be stopped."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from time import monotonic
from typing import Any

from plait import _watcher
from plait._binding import native
from plait._errors import Killed
from plait._future import Future
from plait._task import Terms, seconds

__all__ = ["Thread"]


class Thread(threading.Thread):
    """A thread, as `threading.Thread`, that can have a deadline and be cancelled.

    At the timeout, and upon `cancel`, an exception is raised in the thread, so
    that its `finally` clauses run. If it has not ended when its grace is over
    (it hangs in C, or swallows the exception) it is abandoned: `join` returns,
    and the interpreter's end does not wait for it.

    What ends a thread is told to `threading.excepthook`, as that of any thread
    is, unless it is `plait.Killed`, which somebody asked for.

    Args:
        group: None, as in the standard library.
        target: called by `run`.
        name: the thread's.
        args: of `target`.
        kwargs: of `target`.
        daemon: whether the interpreter's end leaves it alone. By default as
            the thread that makes it.
        timeout: how many seconds it may run. None: as long as it takes.
        grace: how many seconds it has to clean up once it is to stop.

    Raises:
        TypeError: a number of seconds is none.
        ValueError: it is negative.

    Example:
        >>> import plait
        >>> thread = plait.Thread(target=print, args=("done",), timeout=10)
        >>> thread.start()
        >>> thread.join()
        done
        >>> thread.exception is None
        True
    """

    # Of those whose `__init__` was not called, which only `start` tells.
    _terms = Terms()
    _future: Future[object] | None = None
    # Where it was started.
    _process = 0
    _cancelled = False
    # What `start` found as `run`.
    _body: Callable[[], object] | None = None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
        timeout: float | None = None,
        grace: float = 0.2,
    ) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        self._terms = Terms(
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            grace=seconds(grace, "grace"),
        )

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: it has been started before, or the system refuses
                another thread.

        """
        if not self._initialized or self.ident is not None:  # type: ignore[attr-defined]
            # Which refuses.
            super().start()
            return
        from plait import _thread_calls as _thread_calls  # for the watcher

        _watcher.start()
        # A subclass may have another `run`, or this object.
        body = self._body = self._body or self.run
        terms = self._terms._replace(name=f"the thread {self.name!r}")
        future, call = native.stoppable(body, (), {}, terms)
        future.add_done_callback(self._tell_if_abandoned)
        self._future = future
        self._process = os.getpid()
        if self._cancelled:
            future.cancel()
        daemon = self.daemon
        # Whoever acquires it decides: the thread to run, or we that it must
        # not. An interrupt can hit `start` after the thread has begun.
        claim = threading.Lock()

        def run() -> None:
            if threading.current_thread() is not self:
                # Called by hand, as `run` can be.
                body()
            elif claim.acquire(blocking=False):
                # What it starts inherits the mark.
                self._daemonic = daemon
                self._run(future, call)

        self.run = run  # type: ignore[method-assign]
        # The interpreter does not wait for it: one that is abandoned may never
        # end. The watcher waits for those that are not.
        self._daemonic = daemon or _watcher.keep(self)
        try:
            super().start()
        except BaseException:
            if claim.acquire(blocking=False):
                self._future = None
                _watcher.let_go(self, ends=False)
            raise
        finally:
            self._daemonic = daemon

    def _run(self, future: Future[object], call: native.ThreadCall) -> None:
        from plait._thread_calls import run

        # They refer to this object.
        del self.run
        self._body = None
        try:
            run(call, self)
            if not call.abandoned:
                self._tell(future)
        finally:
            _watcher.let_go(self, ends=True)

    def lose(self) -> None:
        """Do without it: it was abandoned. Called by the watcher."""
        _watcher.let_go(self, ends=False)

    def _tell_if_abandoned(self, future: Future[object]) -> None:
        if not future.cancelled() and getattr(future.exception(), "abandoned", False):
            self._tell(future)

    def _tell(self, future: Future[object]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, Killed):
            # Not raised for the base class to find: the traceback would hold
            # this frame, and the frame the exception.
            args = type(error), error, error.__traceback__, self
            threading.excepthook(threading.ExceptHookArgs(args))

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, or was abandoned.

        Args:
            timeout: for how many seconds at most.

        Raises:
            RuntimeError: it has not been started, or is the calling thread.

        """
        # What is wrong is found out before anything is waited for.
        super().join(0)
        end = None if timeout is None else monotonic() + max(timeout, 0)
        try:
            if self._future is not None and not self._is_inherited():
                error = self._future.exception(timeout)
                if getattr(error, "abandoned", False):
                    return
        except CancelledError:
            pass
        except TimeoutError:
            return
        super().join(None if end is None else max(0.0, end - monotonic()))

    def cancel(self) -> bool:
        """Stop the thread; one that has not been started never calls `run`.

        Returns:
            Whether there was something to stop.

        """
        self._cancelled = True
        if self._future is None:
            return True
        return not self._is_inherited() and self._future.cancel()

    def _is_inherited(self) -> bool:
        """Whether this process was forked from the one where it was started: here it has ended."""
        return os.getpid() != self._process

    @property
    def exception(self) -> BaseException | None:
        """What has ended `run`: None while it runs, and where it returned.

        A `plait.TaskTimeout` at the timeout, a `plait.Killed` upon `cancel`.
        """
        future = self._future
        if future is None or not future.done():
            return None
        if future.cancelled():
            return Killed(f"the thread {self.name!r} was cancelled before it began")
        return future.exception()
