"""The thread pool: Python threads that take their work from a native queue."""

import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import count
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar

from plait import _lost, _notifier, _watcher
from plait._arguments import check_initializer, worker_limit
from plait._binding import native
from plait._crew import Crew
from plait._future import Future
from plait._task import Terms, bare, terms_of

if TYPE_CHECKING:
    import contextvars

    from plait._statistics import ThreadPoolStatistics

__all__ = ["ThreadPoolExecutor", "cpu_count"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


# A subclass of the standard executor because others ask for it:
# `loop.set_default_executor` takes no other class. Nothing of it is used but
# what the abstract `Executor` gives (`map`, the context manager).
class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """A pool of threads, as `concurrent.futures.ThreadPoolExecutor`.

    Threads are started when calls arrive and no thread is idle. `submit`
    returns a `plait.Future`, which a coroutine can await. Calls that are
    queued or running are finished before the interpreter exits.

    Args:
        max_workers: how many threads at most; by default the number of usable
            CPUs plus 4, and at most 32.
        thread_name_prefix: the threads are named `<prefix>_<number>`.
        initializer: called in each thread before its first call. If it raises,
            the pool is broken.
        initargs: the arguments of `initializer`.

    Raises:
        ValueError: `max_workers` is less than one.
        TypeError: `max_workers` is not an integer, or `initializer` cannot be
            called.

    Example:
        >>> import plait
        >>> with plait.ThreadPoolExecutor() as pool:
        ...     list(pool.map(pow, [2, 3, 4], [2, 2, 2]))
        [4, 9, 16]
    """

    _numbers = count()
    # Whether the interpreter's exit waits for what was accepted.
    _waited = True
    _work_queue: native.ThreadQueue  # type: ignore[assignment]

    def __init__(
        self,
        max_workers: SupportsIndex | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is None:
            # Calls that wait profit from a few threads more than there are
            # CPUs, and a small machine must not be left without any.
            max_workers = min(32, cpu_count() + 4)
        limit = worker_limit(max_workers)
        check_initializer(initializer)
        self._max_workers = limit
        self._thread_name_prefix = (
            thread_name_prefix or f"ThreadPoolExecutor-{next(ThreadPoolExecutor._numbers)}"
        )
        set_up = None if initializer is None else partial(initializer, *initargs)
        self._crew = Crew(limit, self._thread_name_prefix, set_up, self._waited)
        self._work_queue = self._crew.queue
        # A pool that nobody holds any more finishes what it has and ends.
        weakref.finalize(self, self._work_queue.close).atexit = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call `fn(*args, **kwargs)` in a thread of the pool.

        Returns:
            The future of the call.

        Raises:
            RuntimeError: the pool has been shut down, the interpreter is
                exiting, the pool belongs to the process that this one was
                forked from, or no thread can be started.
            BrokenThreadPool: an initializer has failed.

        """
        # Functions first: to look for terms costs as much as a sixth of a call.
        if type(fn) is not FunctionType and (terms := terms_of(fn)) is not None:
            return self._submit(fn, args, kwargs, terms)
        future, wanted = self._work_queue.submit(fn, args, kwargs)
        if wanted:
            # If no thread can be started, the call is withdrawn, unless another
            # thread has begun it.
            self._crew.start(future._withdraw)
        return future

    def _submit(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        terms: Terms,
        context: "contextvars.Context | None" = None,
    ) -> Future[_T]:
        """Make a call that can be stopped, on `terms`.

        Args:
            fn: what to call.
            args: its positional arguments.
            kwargs: its keyword arguments.
            terms: of `plait.task`; those of `fn` do not count.
            context: each attempt runs in a copy of it; None: in the thread's own.

        """
        from plait import _thread_calls as _thread_calls  # for the threads

        _watcher.start()
        future, wanted = self._work_queue.submit(bare(fn), args, kwargs, terms, context)
        if wanted:
            self._crew.start(future._withdraw)
        return future

    def statistics(self) -> "ThreadPoolStatistics":
        """Tell how the pool is doing.

        Raises:
            RuntimeError: it belongs to the process that this one was forked from.

        """
        from plait._statistics import of_threads

        return of_threads(self._work_queue)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the threads when those accepted are done.

        Args:
            wait: whether to return only then.
            cancel_futures: whether to cancel the calls that have not begun.

        Raises:
            RuntimeError: a call in this very pool asks to wait for itself.

        """
        self._work_queue.close()
        if cancel_futures:
            self._work_queue.cancel_pending()
        if not wait:
            return
        if threading.current_thread() in self._threads:
            raise RuntimeError(
                "a call in this thread pool cannot wait for the pool to end: "
                "use shutdown(wait=False)"
            )
        self._crew.wait()
        _notifier.flush()
        _lost.pool_ended(self._work_queue.number)

    # The names under which others look into the standard executor.
    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._work_queue.closed is not None

    @property
    def _broken(self) -> bool:  # type: ignore[override]
        return self._work_queue.closed == "broken"

    @property
    def _threads(self) -> set[threading.Thread]:  # type: ignore[override]
        return self._crew.threads


def cpu_count() -> int:
    """Count the CPUs that this process may use."""
    # Python 3.13 knows how many this process may use.
    usable: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return usable() or 1
