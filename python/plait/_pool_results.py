"""What the methods of `plait.Pool` return at once: results that come later."""

import logging
import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from time import monotonic
from typing import Any, Generic, TypeVar

from plait import _notifier
from plait._binding import native
from plait._future import Future
from plait._mapping.chunk import Chunk
from plait._mapping.feed import Feed
from plait._mapping.losing import Losses, decoded
from plait._mapping.results import given_out

__all__ = ["AsyncResult", "IMapIterator", "IMapUnorderedIterator", "collect"]

_T = TypeVar("_T")

_logger = logging.getLogger("plait.Pool")


class AsyncResult(Generic[_T]):
    """The outcome of a call that a pool's method has only begun.

    As `multiprocessing.pool.AsyncResult`; it is ready when its callback, if it
    has one, has returned.
    """

    def __init__(
        self,
        future: Future[_T],
        callback: Callable[[_T], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        """Wait for the future, then call back."""
        self._future = future
        self._callback = callback
        self._error_callback = error_callback
        self._told: threading.Event | None = None
        if callback is not None or error_callback is not None:
            self._told = threading.Event()
            future.add_done_callback(self._end)

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self._future.done() if self._told is None else self._told.is_set()

    def successful(self) -> bool:
        """Whether the call has returned rather than raised.

        Raises:
            ValueError: it has not ended.

        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not self._future.cancelled() and not self._future._has_failed()

    def wait(self, timeout: float | None = None) -> None:
        """Return when the call has ended, or after `timeout` seconds."""
        if self._told is not None:
            self._told.wait(timeout)
            return
        try:
            self._future._wait(timeout)
        except TimeoutError:
            return

    def get(self, timeout: float | None = None) -> _T:
        """Return what the call returned, or raise what it raised.

        Raises:
            multiprocessing.TimeoutError: it has not ended after `timeout`
                seconds.
            concurrent.futures.CancelledError: the pool was terminated.

        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError(f"the task has not ended within {timeout} s")
        return self._future.result()

    def _end(self, future: Future[_T]) -> None:
        # The thread that asks for the callback, or that ends the call, may
        # hold a lock which the callback takes.
        if _notifier.is_current():
            self._tell(future)
        else:
            native.notifier_call(self._tell, future)

    def _tell(self, future: Future[_T]) -> None:
        assert self._told is not None
        try:
            # Without a callback for it, a failure is left to whoever asks.
            failed = future.cancelled() or future._has_failed()
            if self._error_callback is None and (failed or self._callback is None):
                return
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                if self._callback is not None:
                    self._callback(future.result())
            elif self._error_callback is not None:
                self._error_callback(error)
        except Exception:
            _logger.exception("exception in a callback of %r", self)
        finally:
            self._callback = self._error_callback = None
            self._told.set()


def collect(feed: Feed, name: str) -> Callable[[Future[list[Any]]], None]:
    """Return what ends a future with all the results of a feed that is over.

    The outcome is the first failure, in the order of the items, if there is one.
    """

    def end(future: Future[list[Any]]) -> None:
        results: list[Any] = []
        error: BaseException | None = None
        for chunk in feed.all_taken():
            try:
                values, failures = _parts(chunk)
            except BaseException as failure:
                if error is None and chunk.future._is_forgiven():
                    future._forgive()
                error = error or failure
                continue
            results += values
            if failures:
                error = error or decoded(failures[min(failures)], name)
        if error is None:
            future.set_result(results)
        else:
            future.set_exception(error)

    return end


def _parts(chunk: Chunk) -> tuple[list[Any], dict[int, Any]]:
    _, values, failures = chunk.reply()
    return values, failures


class IMapIterator(Generic[_T]):
    """The results of `Pool.imap`, as they come, in the order of the items.

    As with the iterator of `multiprocessing`, an exception of an item is
    raised in its place, and the iteration goes on behind it.
    """

    def __init__(self, name: str, pool: int) -> None:
        """Wait for a feed."""
        self._name = name
        self._losses = Losses(name, pool)
        self._feed: Feed | None = None
        self._values: Iterator[_T] = iter(())
        self._failures: dict[int, Any] = {}
        self._place = 0
        self._end = 0
        self._lock = threading.Lock()

    def serve(self, feed: Feed) -> None:
        """Give out what this feed's chunks return."""
        self._feed = self._losses.feed = feed

    def __iter__(self) -> Iterator[_T]:
        """Return itself."""
        return self

    def __next__(self) -> _T:
        """Wait for the next result."""
        return self.next()

    def next(self, timeout: float | None = None) -> _T:
        """Wait for the next result.

        Args:
            timeout: for how many seconds at most.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it has not come within that time.
            Exception: what the item raised, or the input.

        """
        end = None if timeout is None else monotonic() + timeout
        with self._lock:
            while self._place == self._end:
                self._load(end)
            place = self._place
            self._place += 1
            value = next(self._values)
            failure = self._failures.pop(place, None)
        if failure is None:
            return value
        self._losses.told = True
        raise decoded(failure, self._name)

    def _load(self, end: float | None) -> None:
        try:
            chunk = self._take(lambda: None if end is None else end - monotonic())
        except TimeoutError:
            raise multiprocessing.TimeoutError("the next result did not come in time") from None
        if chunk is None:
            self._feed = None
            raise StopIteration
        try:
            values, self._failures = _parts(chunk)
        except BaseException:
            self._losses.told = True
            raise
        self._place, self._end = 0, len(values)
        self._values = given_out(values)

    def __del__(self) -> None:
        losses: Losses | None = getattr(self, "_losses", None)
        if losses is not None:
            losses.look_at(getattr(self, "_failures", {}))
            losses.abandon()

    def _take(self, left: Callable[[], float | None]) -> Chunk | None:
        return None if self._feed is None else self._feed.take(left)


class IMapUnorderedIterator(IMapIterator[_T]):
    """The results of `Pool.imap_unordered`, in the order in which they come."""

    def __init__(self, name: str, pool: int) -> None:
        """Wait for a feed."""
        super().__init__(name, pool)
        self._chunks: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()

    def put(self, chunk: Chunk | None) -> None:
        """Take in a chunk that has ended; None after the last."""
        if chunk is not None:
            self._losses.note(chunk)
        self._chunks.put(chunk)

    def _take(self, left: Callable[[], float | None]) -> Chunk | None:
        if self._feed is None:
            return None
        timeout = left()
        try:
            chunk = self._chunks.get(timeout=None if timeout is None else max(0.0, timeout))
        except queue.Empty:
            raise TimeoutError from None
        if chunk is not None:
            self._feed.taken(chunk)
        return chunk
