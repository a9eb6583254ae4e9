"""The process pool: workers forked from a clean template process."""

import concurrent.futures
import itertools
import marshal
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, SupportsIndex, TypeVar

from plait import _cores, _lifelines, _notifier, _setting, _statistics
from plait._arguments import (
    check_initializer,
    memory_limit,
    module_names,
    pending_limit,
    worker_limit,
)
from plait._binding import native
from plait._future import Future
from plait._handing import everything, handing
from plait._interrupt import ends_by_interrupt, is_interrupt
from plait._pickling.outbound import Outbound, describe
from plait._statistics import PoolStatistics
from plait._task import submitted_terms

__all__ = ["ProcessPoolExecutor"]

_T = TypeVar("_T")

# What a running task gets to clean up when the user interrupts, in seconds.
_GRACE = 0.2


class ProcessPoolExecutor(native.ProcessExecutor, concurrent.futures.Executor):
    """A pool of processes, as `concurrent.futures.ProcessPoolExecutor`.

    Workers are forked from a template process that was executed for this pool:
    none of this process's threads and locks come along, and functions of
    `__main__`, of the prompt or of a notebook need no guard. They see the
    environment, working directory, `sys.path` and `sys.argv` of this process
    as of the making of the pool.

    A worker that dies fails the task that it ran with `plait.WorkerDied`, and
    no other; it is replaced. All workers end with this process, however it
    ends.

    What tasks use of `__main__` is told to each worker once, and again when
    the name is bound to another object. What an initializer or a task does to
    a global stays in its worker.

    With `PLAIT_SERIAL=1` in the environment there are no workers: each call
    runs in the thread that submits it, before `submit` returns, so that a
    debugger stops where it is told to.

    Args:
        max_workers: how many processes at most; by default one for each CPU
            that this process may use. They are started when tasks arrive.
        initializer: called in each worker before its first task. If it raises,
            the pool is broken.
        initargs: the arguments of `initializer`.
        preload: names of modules that are imported once, before the first
            worker is forked, so that every worker has them from the start. If
            one cannot be imported, the pool is broken. One that starts threads
            when it is imported makes workers be executed instead of forked,
            which is slower, with a `RuntimeWarning` on standard error.
        max_pending: how many calls may wait beyond those that the workers
            run. With as many waiting, `submit` waits too. By default any
            number may.

        max_memory: how many bytes of private memory a worker may have when a
            task has ended; one that has more is replaced. A worker that gets
            to twice as many while it runs a task is killed, and the task fails
            with `plait.WorkerDied`. By default there is no limit.

    Raises:
        ValueError: `max_workers` or `max_memory` is less than one, or
            `max_pending` negative.
        TypeError: one of them is not an integer, `initializer` cannot be
            called, or `preload` is not a list of names.
        Exception: the initializer or its arguments cannot be pickled.

    """

    def __init__(
        self,
        max_workers: SupportsIndex | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        preload: Iterable[str] = (),
        max_pending: SupportsIndex | None = None,
        max_memory: SupportsIndex | None = None,
    ) -> None:
        limit = worker_limit(_cores.usable() if max_workers is None else max_workers)
        bound = None if max_pending is None else pending_limit(max_pending)
        check_initializer(initializer)
        modules = module_names(preload)
        memory = memory_limit(max_memory)
        if os.environ.get("PLAIT_SERIAL", "") not in ("", "0"):
            from plait._serial import SerialOutbound, SerialPool

            self._outbound: Any = SerialOutbound()
            self._pool: Any = SerialPool(initializer, tuple(initargs))
            self._max_workers = limit
            return
        self._outbound = Outbound()
        images: tuple[native.Image, ...] = ()
        target, data = 0, b""
        handed: list[int] = []
        tracked = False
        if initializer is not None:
            with handing() as given:
                images, target, data = self._outbound.encode(initializer, tuple(initargs), {})
            handed, tracked = everything(given)
        _notifier.start()
        self._max_workers = limit
        self._pool = native.ProcessPool(
            executable=_setting.executable(),
            arguments=_setting.arguments(),
            environment=_setting.environment(limit),
            directory=_setting.directory(),
            template=marshal.dumps(
                dict(_setting.settings(limit, modules, memory, tracked=tracked))
            ),
            limit=limit,
            max_pending=bound,
            images=images,
            initializer=target,
            initargs=data,
            max_memory=memory,
            handed=handed,
        )
        self._submit_to(self._pool, self._outbound.callees)
        _exit.add(self._pool)
        # A pool that nobody holds any more finishes what it has and ends.
        weakref.finalize(self, _close, self._pool, os.getpid()).atexit = False

    def _submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Submit what `submit` cannot by itself: what needs the pickler."""
        self._pool.check_open()
        try:
            images, target, data = self._outbound.encode(fn, args, kwargs)
        except Exception as error:
            failed: Future[_T] = Future()
            failed.set_exception(error)
            return failed
        terms = submitted_terms(fn)
        future: Future[_T] = self._pool.submit(target, images, data, describe(fn), terms)
        return future

    # `buffersize` (from 3.14 on) goes to the standard method as it is.
    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[_T]:
        """Call `fn` on the items of the iterables, in workers.

        Args:
            fn: takes as many arguments as there are iterables.
            iterables: read at once, up to the end of the shortest.
            timeout: how many seconds after this call a result may be late.
            chunksize: how many items travel to a worker at a time.
            options: what else the standard method takes.

        Returns:
            An iterator over the results, in the order of the items.

        Raises:
            ValueError: `chunksize` is less than one.
            TimeoutError: raised by the iterator.

        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, not {chunksize}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **options)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        results = super().map(_run_chunk, itertools.repeat(fn), chunks, timeout=timeout, **options)
        return _flatten(results)

    def statistics(self) -> PoolStatistics:
        """Tell how the pool and each of its workers is doing at this moment.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        return _statistics.of_pool(self._pool)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the workers when those accepted are done.

        Args:
            wait: whether to return only then, with every process reaped.
            cancel_futures: whether to cancel the calls that have not begun.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        self._pool.close(cancel_futures)
        if wait:
            self._pool.wait()
            _exit.discard(self._pool)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Shut down and wait; after Ctrl-C, end what runs rather than wait for it."""
        try:
            if exc_type is not None and is_interrupt(exc_type):
                self._pool.terminate(_GRACE)
            self.shutdown(wait=True)
        except KeyboardInterrupt:
            _end_now(self._pool)
            raise
        return None


def _chunks(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


def _run_chunk(fn: Callable[..., _T], chunk: tuple[tuple[Any, ...], ...]) -> list[_T]:
    return [fn(*args) for args in chunk]


def _flatten(results: Iterator[list[_T]]) -> Iterator[_T]:
    for chunk in results:
        # Each result is let go of as soon as it is handed out.
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def _close(pool: native.ProcessPool, owner: int) -> None:
    if os.getpid() == owner:
        pool.close(False)


def _end_now(pool: native.ProcessPool) -> None:
    """Stop what runs and reap it, whatever else is pressed meanwhile."""
    pool.terminate(_GRACE)
    while True:
        try:
            return pool.wait()
        except KeyboardInterrupt:
            continue  # at most the grace and a moment from now


class _Exit:
    """The pools that have to end before the interpreter does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exiting = False
        # Strong: also one whose executor is gone may have work left.
        self._pools: set[native.ProcessPool] = set()

    def add(self, pool: native.ProcessPool) -> None:
        with self._lock:
            self._pools = {other for other in self._pools if not other.ended}
            self._pools.add(pool)
            exiting = self._exiting
        if exiting:
            pool.close(False)
            raise RuntimeError("cannot make a process pool while the interpreter is exiting")

    def discard(self, pool: native.ProcessPool) -> None:
        with self._lock:
            self._pools.discard(pool)

    def run(self) -> None:
        with self._lock:
            self._exiting = True
            pools = list(self._pools)
        interrupted = ends_by_interrupt()
        for pool in pools:
            if interrupted:
                pool.terminate(_GRACE)
            else:
                pool.close(False)
        try:
            for pool in pools:
                pool.wait()
        except KeyboardInterrupt:
            for pool in pools:
                _end_now(pool)
            raise


_exit = _Exit()


def _after_fork_in_child() -> None:
    # The parent's pools end with the parent. Kept in the set of nobody, they
    # are neither waited for nor ended here.
    global _exit
    _exit = _Exit()


threading._register_atexit(lambda: _exit.run())  # type: ignore[attr-defined]
_lifelines.guard()
os.register_at_fork(after_in_child=_after_fork_in_child)
