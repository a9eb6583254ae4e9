"""Reads the input of one map and sends it, chunk by chunk."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from plait._future import Future
from plait._mapping.chunk import Chunk, Send
from plait._mapping.reading import READING, read_some
from plait._mapping.sizing import Sizer
from plait._worker.chunk import Reply

__all__ = ["Intake"]


class Intake:
    """The input of one map, and the chunks of it that nobody has taken.

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
        forget: Callable[[Any], None],
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
        # Whoever looks at the chunks that end, once nobody will take them.
        self._left_to: Callable[[Chunk], None] | None = None
        # Whether somebody has asked for a result.
        self.begun = False
        # What the input raised, or the pool when it took nothing more.
        self.failure: BaseException | None = None
        # Those whose results nobody has taken, in their order.
        self._chunks: deque[Chunk] = deque()
        self._pending: set[Chunk] = set()
        self._waiting = 0
        # Guards what follows, and tells of every end of a chunk and of the input.
        # Entered as a lock: the condition's own way is Python code, and an interrupt
        # in there would leave it locked. Reentrant ones are taken back without any.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
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
        with self._lock:
            if self._reader is not None:
                self._again = True
                return
            self._reader = threading.get_ident()
        try:
            again = True
            while again:
                self._fill()
                with self._lock:
                    again, self._again = self._again, False
                    if not again:
                        self._reader = None
                        self._news.notify_all()
        except BaseException as error:
            # A thread of ours has nobody to raise it to.
            self._stop(error if self._served else None)
            with self._lock:
                self._reader = None
            if not self._served:
                raise

    def _fill(self) -> None:
        begun = time.perf_counter()
        # One pass sends what was missing when it began: what the workers have
        # done meanwhile is for the next, which may come after some results.
        with self._lock:
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
        # The size that the user wants is kept to, and a copy is fast.
        whole = self.copied or self._sizer.fixed is not None
        return read_some(items, count, begun, whole=whole)

    def _is_head_done(self) -> bool:
        return bool(self._chunks) and self._chunks[0].future.done()

    def _depth(self) -> int:
        return self._sizer.depth(self._left)

    def _room(self) -> int:
        """How many items to read for one chunk."""
        with self._lock:
            bound = None if self._draining else self._bound
            size = self._sizer.size(self._left, bound)
            return size if bound is None else min(size, bound - self._waiting)

    def _dispatch(self, items: list[Any], reading: float) -> None:
        sent = self._sender(items)
        seconds = (time.perf_counter() - reading) / len(items)
        single = self._sender.single
        chunks = [Chunk(future, part, seconds * len(part), single) for future, part in sent]
        with self._lock:
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
        with self._lock:
            self._pending.discard(chunk)
            if seconds is not None and done:
                cost = chunk.cost * done / len(chunk.items)
                self._sizer.learn(done, seconds + cost)
            over = self._is_over()
            self._news.notify_all()
        if self._left_to is not None:
            self._left_to(chunk)
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

    def _stop(self, failure: BaseException | None = None, *, wanted: bool = False) -> None:
        """Read no more; what the input raised is given out in its place.

        Args:
            failure: what was raised.
            wanted: whether it says that the pool was ended: nobody has lost that.

        """
        chunk = None
        if failure is not None:
            chunk = Chunk(Future(), [], 0.0)
            if wanted:
                chunk.future._forgive()
            chunk.future.set_exception(failure)
        with self._lock:
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
