"""The process pool: workers forked from a clean template process."""

import concurrent.futures
import importlib
import marshal
import os
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar, overload

from plait import _cores, _notifier, _setting
from plait._arguments import (
    check_context,
    check_initializer,
    check_lifetime,
    check_seconds,
    concurrency_limit,
    memory_limit,
    module_names,
    pending_limit,
    worker_limit,
)
from plait._binding import native
from plait._future import Future
from plait._handing import everything, handing
from plait._mapping.feed import LOOKAHEAD, Feed
from plait._mapping.inputs import rows
from plait._mapping.results import Results
from plait._mapping.sending import Sender
from plait._mapping.sizing import Sizer
from plait._pickling.outbound import Outbound, describe
from plait._pickling.sharing import Shared
from plait._process_closing import Closing
from plait._process_exit import Ending, check_not_exiting
from plait._standard_views import StandardViews
from plait._surroundings import Surroundings
from plait._task import terms_of
from plait._terms import Terms
from plait._worker.chunk import STARRED

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from plait._statistics import PoolStatistics

__all__ = ["ProcessPoolExecutor"]

_T = TypeVar("_T")

# How many bytes of address space requests get; None: as the machine has it.
_arena_size: int | None = None


class ProcessPoolExecutor(
    native.ProcessExecutor, StandardViews, Closing, concurrent.futures.Executor
):
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
        mp_context: a context of `multiprocessing`, for code that has one.
            Workers come from the template whatever it says; "fork" gives a
            warning, once, since they inherit nothing by it.
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
        concurrency: how many coroutines a worker runs at once, in its event
            loop; by default one. A call of a plain function runs by itself,
            and those coroutines wait while it does.
        max_tasks_per_child: after how many calls a worker is replaced; a chunk
            of `map` counts as one. By default workers live as long as the pool.
        exit_timeout: how many seconds the interpreter's exit waits for calls
            that were accepted, before it ends those that still run. By
            default as long as they take. Ctrl-C ends the wait.

    Raises:
        ValueError: `max_workers`, `concurrency`, `max_tasks_per_child` or
            `max_memory` is less than one, `max_pending` is negative, or `max_tasks_per_child` is
            used with the context "fork".
        TypeError: one of them is not an integer, `initializer` cannot be
            called, or `preload` is not a list of names.
        Exception: the initializer or its arguments cannot be pickled.

    """

    # Whether workers are started before there are tasks.
    _eager = False
    # Whether tasks fail as those of `multiprocessing.Pool` do.
    _as_pool = False

    def __init__(
        self,
        max_workers: SupportsIndex | None = None,
        mp_context: "BaseContext | None" = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        exit_timeout: float | None = None,
        preload: Iterable[str] = (),
        max_pending: SupportsIndex | None = None,
        max_memory: SupportsIndex | None = None,
        concurrency: SupportsIndex = 1,
    ) -> None:
        check_not_exiting()
        exit_timeout = check_seconds("exit_timeout", exit_timeout)
        method = check_context(mp_context)
        check_lifetime(max_tasks_per_child, method)
        limit = worker_limit(_cores.usable() if max_workers is None else max_workers)
        bound = None if max_pending is None else pending_limit(max_pending)
        check_initializer(initializer)
        modules = module_names(preload)
        memory = memory_limit(max_memory)
        width = concurrency_limit(concurrency)
        self._max_workers = limit
        self._max_pending = bound
        self._concurrency = width
        self._given_context = mp_context
        # None: its calls run in this process.
        self._surroundings: Surroundings | None = None
        self._max_tasks_per_child = max_tasks_per_child
        if os.environ.get("PLAIT_SERIAL", "") not in ("", "0"):
            from plait._serial import SerialOutbound, SerialPool

            self._outbound: Any = SerialOutbound()
            self._pool: Any = SerialPool(initializer, tuple(initargs))
            self._ending = Ending(self._pool, exit_timeout)
            return
        self._surroundings = Surroundings()
        arena = native.Arena(_arena_size)
        self._outbound = Outbound(arena)
        images: tuple[native.Image, ...] = ()
        target, packer = 0, native.Packer()
        handed: list[int] = []
        tracked = False
        if initializer is not None:
            with handing() as given:
                images, target, packer = self._outbound.encode(initializer, tuple(initargs), {})
            handed, tracked = everything(given)
        _notifier.start()
        self._pool = native.ProcessPool(
            executable=_setting.executable(),
            arguments=_setting.arguments(),
            environment=_setting.environment(limit),
            directory=_setting.directory(),
            template=marshal.dumps(
                dict(
                    _setting.settings(
                        limit,
                        modules,
                        memory,
                        concurrency=width,
                        as_pool=self._as_pool,
                        tracked=tracked,
                    )
                )
            ),
            limit=limit,
            max_pending=bound,
            images=images,
            initializer=target,
            initargs=packer,
            arena=arena,
            max_memory=memory,
            handed=handed,
            tasks_per_worker=max_tasks_per_child,
            concurrency=width,
            eager=self._eager,
        )
        # Here, while the template starts: at the interpreter's exit, when a worker may
        # still die, `concurrent.futures.process` cannot be imported any more.
        importlib.import_module("plait._pickling.endings")
        self._submit_to(self._pool, self._outbound.callees)
        self._ending = Ending(self._pool, exit_timeout)
        # A pool that nobody holds any more finishes what it has and ends.
        weakref.finalize(self, self._ending.let_go).atexit = False

    def _submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Submit what `submit` cannot by itself: what needs the pickler."""
        return self._submit_on(terms_of(fn), fn, args, kwargs)

    def _submit_on(
        self,
        terms: Terms | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Submit a call on terms that need not be those of `fn`."""
        self._pool.check_open()
        try:
            call = self._outbound.encode(fn, args, kwargs)
        except Exception as error:
            return Future._failed(describe(fn), error)
        return self._send(call, terms, fn, args, kwargs)

    def _send(
        self,
        call: Any,
        terms: Terms | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Submit a call that has been encoded."""
        if terms is not None and terms.rests:
            from plait._engines.attempts import Attempts  # for those who rest

            calls, once = [call], terms._replace(retries=0)

            def start() -> Future[Any]:
                encoded = calls.pop() if calls else self._outbound.encode(fn, args, kwargs)
                return self._send(encoded, once, fn, args, kwargs)

            return Attempts(start, terms, describe(fn))
        images, target, packer = call
        limits = None if terms is None else terms.limits()
        future: Future[Any] = self._pool.submit(target, images, packer, describe(fn), limits)
        return future

    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, _T]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[_T]: ...
    @overload
    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[_T]: ...
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Call `fn` on the items of the iterables, in workers.

        A list, range or the like is accepted as a whole, as by the standard
        method: everything is run, whether or not the results are looked at.
        Any other input is read by the thread that iterates over the results,
        and only as far ahead as the workers need: it may be infinite. If the
        pool is shut down before anybody has begun to iterate, the rest is read
        and run then; later, only what has been read.

        Args:
            fn: takes as many arguments as there are iterables.
            iterables: read up to the end of the shortest.
            timeout: how many seconds after this call a result may be late.
            chunksize: how many items travel to a worker at a time. By default
                that follows the time they take: a millisecond of work, up to ten
                while much is left.
            buffersize: how many items may be read ahead of the results that
                have been given out; what has not been read when the pool is
                shut down is never run.

        Returns:
            An iterator over the results, in the order of the items. Its
            `close` withdraws what has not begun.

        Raises:
            TypeError: `chunksize` or `buffersize` is no integer.
            ValueError: `chunksize` or `buffersize` is less than one.
            TimeoutError: raised by the iterator.
            Exception: raised by the iterator, in the place of the item: what
                `fn` raised, which ends the iteration, or what the input raised.

        """
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        self._pool.check_open()
        items, left = rows(iterables)
        send, sizer = self._map_with(fn, STARRED if len(iterables) > 1 else 0, chunksize)
        feed = Feed(
            send,
            items,
            sizer,
            left=left if buffersize is None else None,
            bound=LOOKAHEAD if buffersize is None else buffersize,
            accepted=buffersize is None,
            forget=self._ending.remove_feed,
            owner=self,
        )
        results: Results[Any] = Results.of(feed, describe(fn), timeout, self._pool.number)
        self._ending.add_feed(feed)
        feed.advance()
        if feed.failure is not None:
            raise feed.failure
        return results

    def share(self, obj: _T) -> Shared[_T]:
        """Place an object once, for any number of tasks.

        It is pickled now, and its buffers (those of arrays, above all) are copied into memory that
        all workers see. What this returns can be an argument of any task of this pool, or part of
        one; there, `get()` returns the object, made once in each worker, with its arrays as
        read-only views of that memory. Tasks carry only the handle.

        The memory returns when neither this process, nor a task, nor a worker has the handle or
        looks at what is in the object.

        Raises:
            RuntimeError: the pool has been shut down.
            BrokenProcessPool: an initializer has failed, or no worker can be started.
            Exception: the object cannot be pickled.

        Example:
            >>> import plait
            >>> with plait.ProcessPoolExecutor(2) as pool:
            ...     table = pool.share({"a": 1, "b": 2})
            ...     list(pool.map(lambda key: table.get()[key], "ab"))
            [1, 2]

        """
        self._pool.check_open()
        handle: Shared[_T] = self._outbound.share(obj, self._pool.share)
        return handle

    def _map_with(
        self,
        fn: Callable[..., Any],
        mode: int,
        chunksize: int | None,
        sender: Callable[..., Sender] = Sender,
    ) -> tuple[Sender, Sizer]:
        """Make what a feed sends items with."""
        # A subclass's own `submit` sees every call, as with the standard map.
        single = type(self).submit is not ProcessPoolExecutor.submit
        several = self._concurrency > 1
        send = sender(
            self._pool, self._outbound, fn, mode, self.submit, single=single, several=several
        )
        places = self._max_workers * self._concurrency
        room = None if self._max_pending is None else places + self._max_pending
        workers = places if send.single else self._max_workers
        return send, Sizer(workers, 1 if send.single else chunksize, room)

    def statistics(self) -> "PoolStatistics":
        """Tell how the pool and each of its workers is doing at this moment.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        from plait._statistics import of_pool  # not for programs that never ask

        return of_pool(self._pool)
