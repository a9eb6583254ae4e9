"""The thread pool: Python threads that take their work from a native queue."""

import concurrent.futures
import logging
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, ParamSpec, SupportsIndex, TypeVar

from plait._arguments import check_initializer, worker_limit
from plait._binding import native
from plait._future import Future

__all__ = ["ThreadPoolExecutor"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_logger = logging.getLogger("concurrent.futures")


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
            max_workers = min(32, _cpu_count() + 4)
        limit = worker_limit(max_workers)
        check_initializer(initializer)
        self._max_workers = limit
        self._thread_name_prefix = (
            thread_name_prefix or f"ThreadPoolExecutor-{next(ThreadPoolExecutor._numbers)}"
        )
        self._set_up = None if initializer is None else partial(initializer, *initargs)
        self._threads: set[threading.Thread] = set()
        self._thread_numbers = count()
        self._work_queue = native.ThreadQueue(limit)
        _exit.add_queue(self._work_queue)
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
        future, wanted = self._work_queue.submit(fn, args, kwargs)
        if wanted:
            self._start_thread(future)
        return future

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
        self._work_queue.wait()
        for thread in list(self._threads):
            thread.join()

    # The two names under which others look into the standard executor.
    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._work_queue.closed is not None

    @property
    def _broken(self) -> bool:  # type: ignore[override]
        return self._work_queue.closed == "broken"

    def _start_thread(self, future: Future[Any]) -> None:
        """Start the worker that was wanted for `future`."""
        # Whoever acquires it decides: the thread to work, or we that it must
        # not. An interrupt can hit `start` after the thread has begun.
        claim = threading.Lock()
        thread = threading.Thread(
            target=_work,
            name=f"{self._thread_name_prefix}_{next(self._thread_numbers)}",
            args=(claim, self._work_queue, self._set_up),
        )
        self._threads.add(thread)
        _exit.add_thread(thread)
        try:
            thread.start()
        except BaseException as error:
            if not claim.acquire(blocking=False):
                raise
            self._threads.discard(thread)
            self._work_queue.forgo()
            # The call is withdrawn, unless another thread has begun it.
            if future.cancel() or not isinstance(error, Exception):
                raise


def _work(
    claim: threading.Lock, queue: native.ThreadQueue, set_up: Callable[[], object] | None
) -> None:
    """Be a worker thread. It holds the queue and not the pool, which may go."""
    if not claim.acquire(blocking=False):
        return
    if set_up is not None:
        try:
            set_up()
        except BaseException as error:
            _logger.critical("Exception in initializer:", exc_info=True)
            queue.fail(error)
            queue.forgo()
            return
        del set_up
    queue.work()


def _cpu_count() -> int:
    # Python 3.13 knows how many this process may use.
    usable: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return usable() or 1


class _Exit:
    """What has to end before the interpreter does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exiting = False
        self._queues: weakref.WeakSet[native.ThreadQueue] = weakref.WeakSet()
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def add_queue(self, queue: native.ThreadQueue) -> None:
        with self._lock:
            self._queues.add(queue)
            if self._exiting:
                queue.close_at_exit()

    def add_thread(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.add(thread)

    def run(self) -> None:
        with self._lock:
            self._exiting = True
            queues = list(self._queues)
        for queue in queues:
            queue.close_at_exit()
        for queue in queues:
            queue.wait()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            # One that could not be started has no number.
            if thread.ident is not None:
                thread.join()


_exit = _Exit()


def _after_fork_in_child() -> None:
    # The parent's threads do not exist here, and one may have held the lock.
    global _exit
    _exit = _Exit()


threading._register_atexit(lambda: _exit.run())  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
