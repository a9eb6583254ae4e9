"""The interface of `multiprocessing.Pool`, as both `Pool` and `ThreadPool` have it."""

import threading
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, TypeVar

from plait._future import Future
from plait._mapping.chunk import Send
from plait._mapping.feed import LOOKAHEAD, Feed
from plait._mapping.inputs import copy
from plait._mapping.sizing import Sizer
from plait._pickling.outbound import describe
from plait._pool_results import AsyncResult, IMapIterator, IMapUnorderedIterator, collect
from plait._worker.chunk import AS_POOL, GO_ON, STARRED

__all__ = ["RUN", "BasePool", "check_arguments"]

_T = TypeVar("_T")

RUN = "RUN"
_CLOSE = "CLOSE"
_TERMINATE = "TERMINATE"


def check_arguments(processes: int | None, initializer: Callable[..., object] | None) -> None:
    """Refuse what no pool of `multiprocessing` takes."""
    if processes is not None and processes < 1:
        raise ValueError("Number of processes must be at least 1")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")


class PoolEnding(Protocol):
    """How a pool ends, and its maps."""

    @property
    def number(self) -> int:
        """The pool's, by which its futures are known."""

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one whose pool it is."""

    def add_feed(self, feed: Feed) -> None:
        """Have the end of the pool wait for a map."""

    def remove_feed(self, feed: Feed) -> None:
        """Note that all of a map's input has been read."""

    def close_later(self) -> None:
        """Take no more tasks once all maps have been read."""

    def end(self) -> None:
        """Take no more tasks and drop those that have not begun."""

    def wait(self) -> object:
        """Return when the workers have ended."""


class BasePool:
    """A pool with the interface of `multiprocessing.Pool`, whatever its workers are."""

    # Set by who has made the workers.
    _ending: PoolEnding
    _processes: int
    _state = ""

    def _submit(
        self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[_T]:
        raise NotImplementedError

    def _map_with(
        self, fn: Callable[..., Any], mode: int, chunksize: int | None
    ) -> tuple[Send, Sizer]:
        """Make what a feed sends items with."""
        raise NotImplementedError

    # ---- calls

    def apply(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> _T:
        """Call `func(*args, **kwds)` in a worker and wait for its end."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = types.MappingProxyType({}),
        callback: Callable[[_T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[_T]:
        """Call `func(*args, **kwds)` in a worker.

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
        future = self._submit(func, tuple(args), dict(kwds))
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
        future._task_name, future._task_pool = describe(func), self._ending.number
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
        and no further ahead than the workers need.

        Args:
            func: takes an item.
            iterable: the items; may be without end.
            chunksize: how many items travel at a time; see `map_async`.

        Raises:
            ValueError: the pool is not running, or `chunksize` is less than one.

        """
        ordered: IMapIterator[_T] = IMapIterator(describe(func), self._ending.number)
        return self._imap(ordered, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[[Any], _T], iterable: Iterable[Any], chunksize: int | None = None
    ) -> IMapIterator[_T]:
        """As `imap`, with the results in the order in which they come."""
        number = self._ending.number
        unordered: IMapUnorderedIterator[_T] = IMapUnorderedIterator(describe(func), number)
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
        send, sizer = self._map_with(func, mode | GO_ON | AS_POOL, chunksize)
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
        """Take no more calls; the workers end when those accepted are done."""
        if self._state == RUN:
            self._state = _CLOSE
            self._ending.close_later()

    def terminate(self) -> None:
        """Take no more calls, and drop those that have not begun.

        Their results are `concurrent.futures.CancelledError`.
        """
        self._state = _TERMINATE
        self._ending.end()

    def join(self) -> None:
        """Wait for the end of the workers.

        Raises:
            ValueError: neither `close` nor `terminate` has been called.

        """
        if self._state == RUN:
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
        if getattr(self, "_state", None) == RUN:
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

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")
