"""Reads the input of one map and sends it, chunk by chunk."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Protocol

from plait._future import Future
from plait._mapping.sizing import Sizer
from plait._worker.chunk import Reply

__all__ = ["LOOKAHEAD", "READING", "Chunk", "Feed", "Send"]

# How many items of an input that is not accepted as a whole may be under way
# or wait for somebody to take their results. With fewer, one slow item would
# soon stop the others: no result is given out before it.
LOOKAHEAD = 16_384
# An input that is slow must not keep its reader from results that are there:
# so long is read on, in seconds.
READING = 1e-3
# How often the clock is looked at in a chunk.
STEPS = 64


class Send(Protocol):
    """Sends chunks of the items of one map."""

    # Whether each item is a task of its own.
    single: bool

    def __call__(self, items: list[Any]) -> "list[tuple[Future[Any], list[Any]]]":
        """Send items; return the futures, each with its items."""


class Chunk:
    """Some items that were sent together, or what the input raised in their place."""

    __slots__ = ("cost", "future", "items", "single")

    def __init__(
        self, future: "Future[Any]", items: list[Any], cost: float, single: bool = False
    ) -> None:
        """Keep what the future will be asked for."""
        self.future = future
        self.items = items
        # Whether the future's result is that of its one item.
        self.single = single
        # Seconds that reading and pickling took.
        self.cost = cost

    def reply(self) -> Reply:
        """Return what the chunk came to, or raise what became of it as a whole."""
        result = self.future.result()
        return (0.0, [result], {}) if self.single else result


class Feed:
    """The chunks of one map, from the reading of their items to their end.

    Whoever advances it reads and sends for all: others who come meanwhile
    leave a mark and go. No lock is held while the input is read or items are
    pickled, which is code of the user's.

    Args:
        sender: sends some items as one task.
        items: the input.
        sizer: says how large the chunks are.
        left: how many items there are, if the input is a copy.
        bound: how many items may be taken ahead, if the input is not.
        accepted: whether everything is to be run, whoever forgets about it.
        whole: whether an input that raises takes the items along that were
            read for the same chunk.
        served: whether a thread of its own advances it.
        ended: is told of chunks in the order of their ends, and with None that
            there are no more; then nobody can take them in the other order.
        over: called once when the last chunk has ended.
        forget: called once when the input has been read to its end.
        owner: kept alive until then.

    """

    def __init__(
        self,
        sender: Send,
        items: Iterable[Any],
        sizer: Sizer,
        *,
        left: int | None,
        bound: int | None = None,
        accepted: bool = True,
        whole: bool = False,
        served: bool = False,
        ended: Callable[[Chunk | None], None] | None = None,
        over: Callable[[], None] | None = None,
        forget: Callable[["Feed"], None],
        owner: object = None,
    ) -> None:
        """Read nothing yet."""
        self._sender = sender
        self._items: Iterator[Any] | None = iter(items)
        self._sizer = sizer
        self._left = left
        self._bound = bound if left is None else None
        self._accepted = accepted
        self._whole = whole
        self._served = served
        self._ended = ended
        self._over = over
        self._forget = forget
        self._owner: object = owner
        # Whether somebody has asked for a result.
        self.begun = False
        # What the input raised, or the pool when it took nothing more.
        self.failure: BaseException | None = None
        # Those whose results nobody has taken, in their order.
        self._chunks: deque[Chunk] = deque()
        self._pending: set[Chunk] = set()
        self._waiting = 0
        # Guards what follows, and tells of every end of a chunk and of the input.
        self._news = threading.Condition(threading.Lock())
        self._reader: int | None = None
        self._again = False
        self._was_over = False
        self._draining = False
        # Whether to send without regard to how much is under way. What the
        # user bounds himself is to be used.
        self._hurried = not accepted

    # ---- reading and sending

    @property
    def copied(self) -> bool:
        """Whether the input is a copy, which any thread may read."""
        return self._left is not None

    @property
    def open(self) -> bool:
        """Whether there may be more to read."""
        return self._items is not None

    @property
    def left(self) -> int:
        """How many items that have been read, or copied, have results that nobody has taken."""
        return self._waiting + (self._left or 0)

    def advance(self) -> None:
        """Read and send what there is room for.

        Raises:
            BaseException: what the input raises that is no `Exception`. Any
                other takes its place among the results.

        """
        with self._news:
            if self._reader is not None:
                self._again = True
                return
            self._reader = threading.get_ident()
        try:
            again = True
            while again:
                self._fill()
                with self._news:
                    again, self._again = self._again, False
                    if not again:
                        self._reader = None
                        self._news.notify_all()
        except BaseException as error:
            # A thread of ours has nobody to raise it to.
            self._stop(error if self._served else None)
            with self._news:
                self._reader = None
            if not self._served:
                raise

    def _fill(self) -> None:
        begun = time.perf_counter()
        # One pass sends what was missing when it began: what the workers have
        # done meanwhile is for the next, which may come after some results.
        with self._news:
            chunks = self._depth() - len(self._pending)
            largest = self._sizer.size(self._left, None)
        while (items := self._items) is not None and (chunks > 0 or self._hurried):
            count = min(self._room(), largest)
            if not count:
                return
            chunks -= 1
            reading = time.perf_counter()
            read, failure, ended = self._read(items, count, reading)
            if read and not (failure is not None and self._whole):
                try:
                    self._dispatch(read, reading)
                except Exception as error:
                    # The pool takes nothing more.
                    failure, ended = error, True
            if ended:
                self._stop(failure)
                return
            late = time.perf_counter() - begun > READING
            if late and not self._hurried and self._is_head_done():
                return

    def _read(
        self, items: Iterator[Any], count: int, begun: float
    ) -> tuple[list[Any], Exception | None, bool]:
        """Read `count` items, or fewer if it takes long.

        Returns:
            The items, what the input raised, and whether it has ended.

        """
        read: list[Any] = []
        # The clock is looked at from time to time only. The size that the user
        # wants is kept to, and a copy is fast.
        step = count if self.copied or self._sizer.fixed else max(1, count // STEPS)
        try:
            while len(read) < count:
                wanted = min(len(read) + step, count)
                # Keeps what came before an exception.
                read.extend(islice(items, wanted - len(read)))
                if len(read) < wanted:
                    return read, None, True
                if step < count and time.perf_counter() - begun > READING:
                    break
        except Exception as error:
            return read, error, True
        return read, None, False

    def _is_head_done(self) -> bool:
        return bool(self._chunks) and self._chunks[0].future.done()

    def _room(self) -> int:
        """How many items to read for one chunk."""
        with self._news:
            bound = None if self._draining else self._bound
            size = self._sizer.size(self._left, bound)
            return size if bound is None else min(size, bound - self._waiting)

    def _dispatch(self, items: list[Any], reading: float) -> None:
        sent = self._sender(items)
        seconds = (time.perf_counter() - reading) / len(items)
        single = self._sender.single
        chunks = [Chunk(future, part, seconds * len(part), single) for future, part in sent]
        with self._news:
            if self._left is not None:
                self._left -= len(items)
            self._waiting += len(items)
            self._pending.update(chunks)
            if self._ended is None:
                self._chunks.extend(chunks)
                if self._served:
                    self._news.notify_all()
        for chunk in chunks:
            chunk.future.add_done_callback(partial(self._end, chunk))

    def _end(self, chunk: Chunk, future: "Future[Reply]") -> None:
        """Learn from a chunk that has ended; in the notifier's thread."""
        seconds, done = None, 0
        if not future.cancelled() and future.exception() is None:
            seconds, values, _ = chunk.reply()
            done = len(values)
        with self._news:
            self._pending.discard(chunk)
            if seconds is not None and done:
                cost = chunk.cost * done / len(chunk.items)
                self._sizer.learn(done, seconds + cost)
            over = self._is_over()
            self._news.notify_all()
        if self._ended is not None:
            self._ended(chunk)
        if over:
            self._tell_over()
        elif self.copied and self._items is not None:
            self.advance()

    def _is_over(self) -> bool:
        """Whether the last chunk has ended; true once."""
        if self._items is not None or self._pending or self._was_over:
            return False
        self._was_over = True
        return True

    def _tell_over(self) -> None:
        if self._ended is not None:
            self._ended(None)
        if self._over is not None:
            self._over()

    def _stop(self, failure: BaseException | None = None) -> None:
        """Read no more; what the input raised is given out in its place."""
        chunk = None
        if failure is not None:
            chunk = Chunk(Future(), [], 0.0)
            chunk.future.set_exception(failure)
        with self._news:
            if self._items is None:
                return
            items, self._items = self._items, None
            owner, self._owner = self._owner, None
            self.failure = failure
            if chunk is not None and self._ended is None:
                self._chunks.append(chunk)
            over = self._is_over()
            self._news.notify_all()
        if chunk is not None and self._ended is not None:
            self._ended(chunk)
        self._forget(self)
        if over:
            self._tell_over()
        # What they refer to may end here, so not under the lock.
        del items, owner

    # ---- results

    def take(self, timeout: Callable[[], float | None]) -> Chunk | None:
        """Wait for the next chunk to end; None after the last.

        While it waits it reads and sends, if that is not done elsewhere.

        Args:
            timeout: says how many seconds are left.

        Raises:
            TimeoutError: they are over.

        """
        while True:
            done = self._is_head_done()
            # Results that are there are given out first, but not so long that
            # the workers run out of work.
            driven = self.copied or self._served
            if self._items is not None and not self._served and not (done and self._is_busy()):
                self.advance()
            if not self._chunks:
                if self._items is None:
                    return None
            elif done or self._items is None or driven:
                chunk = self._chunks[0]
                if not done:
                    with suppress(CancelledError):
                        chunk.future.exception(timeout())
                self._chunks.popleft()
                self.taken(chunk)
                return chunk
            self._wait(timeout())

    def _is_busy(self) -> bool:
        return 2 * len(self._pending) >= self._depth()

    def _depth(self) -> int:
        return self._sizer.depth(self._left)

    def taken(self, chunk: Chunk) -> None:
        """Note that somebody has taken the results of a chunk."""
        with self._news:
            full = self._bound is not None and self._waiting >= self._bound
            self._waiting -= len(chunk.items)
            if full:
                self._news.notify_all()

    def all_taken(self) -> Iterator[Chunk]:
        """Take the chunks, all of which have ended."""
        while self._chunks:
            yield self._chunks.popleft()

    def _wait(self, timeout: float | None) -> None:
        """Wait for news, if there is nothing to do."""
        with self._news:
            if self._served:
                if self._chunks or self._items is None:
                    return
            elif self._is_head_done() or self._items is None or self._can_read():
                return
            if not self._news.wait(timeout):
                raise TimeoutError("the results did not come in time")

    def _can_read(self) -> bool:
        if self._reader is not None:
            return False
        if len(self._pending) >= self._depth() and not self._hurried:
            return False
        return self._draining or self._bound is None or self._waiting < self._bound

    # ---- the end

    def finish(self, wait: bool, end: float | None = None) -> None:
        """Read and send all that is left, if it was accepted.

        Whoever has begun to iterate reads the input himself as he goes, and
        it may have no end.

        Args:
            wait: whether to do so as the workers get free, so that the sizes
                of the chunks keep following the work, and to return at the
                end of the input. Not in the thread that tells of ends.
            end: the time on the monotonic clock until which to wait.

        """
        if not self._accepted or (self.begun and not self.copied):
            self.give_up()
            return
        with self._news:
            self._draining = True
            self._hurried = self._hurried or not wait
            self._news.notify_all()
        while self._items is not None:
            self.advance()
            with self._news:
                if self._reader == threading.get_ident():
                    return  # it is read further up in this very thread
                timeout = None if end is None else end - time.monotonic()
                if timeout is not None and timeout <= 0:
                    return
                if self._items is not None and not self._can_read():
                    self._news.wait(timeout)

    def drain(self) -> None:
        """Have whoever reads read on, though nobody takes the results."""
        with self._news:
            self._draining = True
            self._news.notify_all()

    def serve(self) -> None:
        """Read and send as there is room, until the end of the input."""
        while self._items is not None:
            self.advance()
            with self._news:
                if self._items is not None and not self._can_read():
                    self._news.wait()

    def give_up(self, cancelled: bool = False) -> None:
        """Read no more, since the pool takes no more.

        Args:
            cancelled: whether what was not read counts as cancelled.

        """
        if cancelled:
            self._stop(
                CancelledError("the pool was shut down and what had not begun was cancelled")
            )
        else:
            self._stop(
                RuntimeError(
                    "cannot schedule new futures after shutdown: the pool of this map was shut "
                    "down before the input had been read to its end"
                )
            )

    def cancel(self) -> None:
        """Read no more, and withdraw what has not begun; let the rest run."""
        self._stop()
        with self._news:
            pending = list(self._pending)
        for chunk in pending:
            chunk.future._withdraw()
