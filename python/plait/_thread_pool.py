"""`plait.ThreadPool`: the interface of `multiprocessing.pool.ThreadPool` on the thread pool."""

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, TypeVar

from plait import _lost, _notifier
from plait._future import Future
from plait._mapping.chunk import Send
from plait._mapping.feeds import Feeds
from plait._mapping.sizing import Sizer
from plait._pool_base import RUN, BasePool, check_arguments
from plait._task import Terms, terms_of
from plait._threads import ThreadPoolExecutor, cpu_count
from plait._worker.chunk import STARRED, Reply, run_chunk

__all__ = ["ThreadPool"]

_T = TypeVar("_T")

_TERMS = Terms()


class _Executor(ThreadPoolExecutor):
    _waited = False

    def call(
        self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[_T]:
        """Submit a call; see `Crew` for why each has terms."""
        return self._submit(fn, args, kwargs, terms_of(fn) or _TERMS)


class ThreadPool(BasePool):
    """A pool of threads, as `multiprocessing.pool.ThreadPool`.

    Threads are started as work arrives. Where `chunksize` is not given, chunks
    follow the time that the items take. Callbacks are called in a thread of
    plait's; what they raise is logged. Functions that `plait.task` gave terms
    have them here, too.

    A pool should be closed or terminated; leaving its `with` block terminates
    it. So does the interpreter's exit, and the collection of a pool that
    nobody holds, which warns.

    Args:
        processes: how many threads; by default one for each CPU.
        initializer: called in each thread before its first call. If it raises,
            the pool is broken.
        initargs: the arguments of `initializer`.

    Raises:
        ValueError: `processes` is less than one.
        TypeError: `initializer` cannot be called.

    Example:
        >>> import plait
        >>> with plait.ThreadPool(2) as pool:
        ...     pool.map(abs, [-1, 2, -3])
        [1, 2, 3]
    """

    _numbers = count()
    _ending: "_Ending"

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        check_arguments(processes, initializer)
        self._processes = cpu_count() if processes is None else processes
        name = f"ThreadPool-{next(ThreadPool._numbers)}"
        self._executor = _Executor(self._processes, name, initializer, tuple(initargs))
        self._ending = _Ending(self._executor)
        self._state = RUN
        # Nobody can ask a pool that is gone for anything.
        weakref.finalize(self, self._ending.end).atexit = False

    def terminate(self) -> None:
        """Take no more calls, and drop those that have not begun.

        Their results are `concurrent.futures.CancelledError`. Calls that run
        go on: threads are not killed. `join` waits for them, the interpreter's
        exit does not.
        """
        super().terminate()

    def _submit(
        self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[_T]:
        return self._executor.call(fn, args, kwargs)

    def _map_with(
        self, fn: Callable[..., Any], mode: int, chunksize: int | None
    ) -> tuple[Send, Sizer]:
        send = _Sender(self._executor, fn, mode)
        return send, Sizer(self._processes, 1 if send.single else chunksize)

    @property
    def _pool(self) -> list[threading.Thread]:
        """The threads, for those who look into the pool of `multiprocessing`."""
        return list(self._executor._threads)


class _Sender:
    """Sends chunks of the items of one map."""

    def __init__(self, executor: _Executor, fn: Callable[..., Any], mode: int) -> None:
        """Send nothing yet."""
        self._executor = executor
        self._fn = fn
        self._mode = mode
        # Its terms are those of each call.
        self.single = terms_of(fn) is not None

    def __call__(self, items: list[Any]) -> "list[tuple[Future[Reply], list[Any]]]":
        """Send items; return the futures, each with its items.

        Raises:
            RuntimeError: the pool takes nothing more.

        """
        call, fn = self._executor.call, self._fn
        if not self.single:
            return [(call(run_chunk, (fn, self._mode, items, _keep), {}), items)]
        starred = self._mode & STARRED
        return [(call(fn, tuple(item) if starred else (item,), {}), [item]) for item in items]


def _keep(error: BaseException) -> BaseException:
    return error


class _Ending(Feeds):
    """How the pool ends, and its maps."""

    def __init__(self, executor: _Executor) -> None:
        """Have nothing to wait for."""
        super().__init__()
        self._crew = executor._crew
        self._owner = os.getpid()

    @property
    def number(self) -> int:
        """The pool's, by which its futures are known."""
        return self._crew.queue.number

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one whose pool it is."""
        return os.getpid() != self._owner

    def close_pool(self) -> None:
        """Take no more calls."""
        self._crew.queue.close()

    def end(self) -> None:
        """Take no more calls and drop those that have not begun."""
        if not self.is_inherited:
            self.abandon_feeds(cancelled=True)
            self._crew.queue.close()
            self._crew.queue.cancel_pending()

    def wait(self) -> None:
        """Return when the threads have ended, and who waits for their calls was told."""
        self._crew.wait()
        _notifier.flush()
        _lost.pool_ended(self.number)
