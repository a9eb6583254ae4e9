"""`plait.Pool`: the interface of `multiprocessing.Pool` on the process pool."""

import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from plait._future import Future
from plait._mapping.feed import LOOKAHEAD, Feed
from plait._mapping.inputs import copy
from plait._pickling.outbound import describe
from plait._pickling.sharing import Shared
from plait._pool_results import AsyncResult, IMapIterator, IMapUnorderedIterator, collect
from plait._process_exit import GRACE
from plait._processes import ProcessPoolExecutor
from plait._worker.chunk import GO_ON, STARRED
from plait._worker_processes import WorkerProcess

__all__ = ["Pool"]

_T = TypeVar("_T")

_RUN = "RUN"
_CLOSE = "CLOSE"
_TERMINATE = "TERMINATE"


class _EagerExecutor(ProcessPoolExecutor):
    _eager = True
    _as_pool = True


class Pool:
    """A pool of processes, as `multiprocessing.Pool`.

    The processes are those of `plait.ProcessPoolExecutor`: forked from a clean
    template, so that functions need not be importable and no guard of
    `__main__` is needed; one that dies fails its call with
    `plait.WorkerDied`, where `multiprocessing` would wait for ever. All of
    them are started at once.

    Where `chunksize` is not given, chunks follow the time that the items take.
    Callbacks are called in a thread of plait's; what they raise is logged.

    A pool should be closed or terminated; leaving its `with` block terminates
    it. So does the interpreter's exit, and the collection of a pool that
    nobody holds, which warns.

    Args:
        processes: how many; by default one for each CPU that this process may
            use.
        initializer: called in each process before its first task. If it
            raises, the pool is broken.
        initargs: the arguments of `initializer`.
        maxtasksperchild: after how many tasks a process is replaced; a chunk
            is one task. By default they live as long as the pool.
        context: a context of `multiprocessing`; see `ProcessPoolExecutor`.

    Raises:
        ValueError: `processes` is less than one, or `maxtasksperchild` is no
            positive integer.
        TypeError: `initializer` cannot be called.

    Example:
        >>> import plait
        >>> with plait.Pool(2) as pool:
        ...     pool.map(abs, [-1, 2, -3])
        [1, 2, 3]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._executor = _EagerExecutor(
            processes,
            context,
            initializer,
            tuple(initargs),
            max_tasks_per_child=maxtasksperchild,
            exit_timeout=0.0,
        )
        self._processes = self._executor._max_workers
        self._ending = self._executor._ending
        self._state = _RUN
        # Nobody can ask a pool that is gone for anything.
        weakref.finalize(self, self._ending.let_go_now).atexit = False

    # ---- calls

    def share(self, obj: _T) -> Shared[_T]:
        """Place an object once, for any number of calls; see `ProcessPoolExecutor.share`.

        Raises:
            ValueError: the pool is not running.
            Exception: the object cannot be pickled.

        """
        self._check_running()
        return self._executor.share(obj)

    def apply(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> _T:
        """Call `func(*args, **kwds)` in a process and wait for its end."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = types.MappingProxyType({}),
        callback: Callable[[_T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[_T]:
        """Call `func(*args, **kwds)` in a process.

        Args:
            func: what to call.
            args: its positional arguments.
            kwds: its keyword arguments.
            callback: called with what it returns.
            error_callback: called with what it raises.

        Raises:
            ValueError: the pool is not running.

        """
        self._check_running()
        future = self._executor.submit(func, *args, **kwds)
        return AsyncResult(future, callback, error_callback)

    # ---- maps

    def map(
        self,
        func: Callable[[Any], _T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[_T]:
        """Call `func` for each item and return the results, in their order.

        Every item is run; then the first exception is raised, if there was one.
        """
        return self.map_async(func, iterable, chunksize).get()

    def starmap(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[_T]:
        """Call `func(*item)` for each item; see `map`."""
        return self.starmap_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[Any], _T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[_T]]:
        """Begin what `map` does.

        Args:
            func: takes an item.
            iterable: read at once.
            chunksize: how many items travel at a time. By default that follows
                the time they take: a millisecond of work, up to ten while much is left.
            callback: called with the list of the results.
            error_callback: called with the first exception.

        Raises:
            ValueError: the pool is not running, or `chunksize` is less than one.

        """
        return self._map_async(func, iterable, 0, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[_T]]:
        """Begin what `starmap` does; see `map_async`."""
        return self._map_async(func, iterable, STARRED, chunksize, callback, error_callback)

    def _map_async(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Any],
        mode: int,
        chunksize: int | None,
        callback: Callable[[list[_T]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult[list[_T]]:
        self._check_running()
        items = copy(iterable)
        if items is None:
            items = list(iterable)
        future: Future[list[_T]] = Future()
        result = AsyncResult(future, callback, error_callback)
        feed = self._feed(func, items, mode, chunksize, left=len(items), over=lambda: end(future))
        end = collect(feed, describe(func))
        feed.advance()
        return result

    def imap(
        self, func: Callable[[Any], _T], iterable: Iterable[Any], chunksize: int | None = None
    ) -> IMapIterator[_T]:
        """Call `func` for each item; return an iterator over the results.

        An input that is no list or the like is read by a thread of the pool,
        and no further ahead than the processes need.

        Args:
            func: takes an item.
            iterable: the items; may be without end.
            chunksize: how many items travel at a time; see `map_async`.

        Raises:
            ValueError: the pool is not running, or `chunksize` is less than one.

        """
        ordered: IMapIterator[_T] = IMapIterator(describe(func))
        return self._imap(ordered, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[[Any], _T], iterable: Iterable[Any], chunksize: int | None = None
    ) -> IMapIterator[_T]:
        """As `imap`, with the results in the order in which they come."""
        unordered: IMapUnorderedIterator[_T] = IMapUnorderedIterator(describe(func))
        return self._imap(unordered, func, iterable, chunksize, unordered.put)

    def _imap(
        self,
        results: IMapIterator[_T],
        func: Callable[[Any], _T],
        iterable: Iterable[Any],
        chunksize: int | None,
        ended: Callable[[Any], None] | None = None,
    ) -> IMapIterator[_T]:
        self._check_running()
        copied = copy(iterable)
        items = iterable if copied is None else copied
        left = None if copied is None else len(copied)
        feed = self._feed(func, items, 0, chunksize, left=left, ended=ended)
        results.serve(feed)
        if copied is not None:
            feed.advance()
            return results
        reader = threading.Thread(target=feed.serve, name="plait-pool-reader", daemon=True)
        reader.start()
        return results

    def _feed(
        self,
        func: Callable[..., Any],
        items: Iterable[Any],
        mode: int,
        chunksize: int | None,
        *,
        left: int | None,
        ended: Callable[[Any], None] | None = None,
        over: Callable[[], None] | None = None,
    ) -> Feed:
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        send, sizer = self._executor._map_with(func, mode | GO_ON, chunksize)
        feed = Feed(
            send,
            items,
            sizer,
            left=left,
            bound=LOOKAHEAD,
            served=left is None,
            # Where the user says what a chunk is, an input that raises takes
            # the last of them along.
            whole=chunksize is not None,
            ended=ended,
            over=over,
            forget=self._ending.remove_feed,
        )
        self._ending.add_feed(feed)
        return feed

    # ---- the end

    def close(self) -> None:
        """Take no more calls; the processes end when those accepted are done."""
        if self._state == _RUN:
            self._state = _CLOSE
            self._ending.close_later()

    def terminate(self) -> None:
        """Take no more calls, end those that run, and the processes with them.

        What runs gets SIGTERM, and SIGKILL a moment later. The results that
        are left are `concurrent.futures.CancelledError` or `plait.WorkerDied`.
        """
        self._state = _TERMINATE
        self._ending.terminate(GRACE)
        self._ending.wait()

    def join(self) -> None:
        """Wait for the end of the processes.

        Raises:
            ValueError: neither `close` nor `terminate` has been called.

        """
        if self._state == _RUN:
            raise ValueError("Pool is still running")
        self._ending.wait()

    def __enter__(self) -> Self:
        """Return the pool.

        Raises:
            ValueError: it is not running.

        """
        self._check_running()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Terminate the pool, in the process that made it."""
        if not self._ending.is_inherited:
            self.terminate()

    def __del__(self) -> None:
        if getattr(self, "_state", None) == _RUN:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        kind = type(self)
        return (
            f"<{kind.__module__}.{kind.__qualname__} state={self._state} "
            f"pool_size={self._processes}>"
        )

    @property
    def _pool(self) -> list[WorkerProcess]:
        """The processes, for those who look into the pool of `multiprocessing`."""
        return list(self._executor._worker_processes().values())

    def _check_running(self) -> None:
        if self._state != _RUN:
            raise ValueError("Pool not running")
