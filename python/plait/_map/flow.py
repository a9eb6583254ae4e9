"""The items of one `plait.map` on their way: read, sent, ended, given out.

Whoever takes results reads the input and sends it, in his own thread, and nobody else does: nothing
is read before the first step, and nothing without steps. The ends of chunks come from other
threads; all that these do is to say so.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from plait._future import Future, _resume
from plait._mapping.chunk import Chunk, Send
from plait._mapping.reading import READING, read_some

if TYPE_CHECKING:
    import asyncio

    from plait._mapping.sizing import Sizer

__all__ = ["Flow", "Part"]


class Part(Chunk):
    """A chunk that knows its place in the input."""

    __slots__ = ("ended", "failed", "first")

    def __init__(
        self, future: Future[Any], items: list[Any], cost: float, single: bool, first: int
    ) -> None:
        """Wait for the end."""
        super().__init__(future, items, cost, single)
        # The number of its first item.
        self.first = first
        self.ended = False
        # Whether that has failed, or one of its items.
        self.failed = False


class Flow:
    """Reads, sends, and tells what has come.

    Args:
        sender: sends some items as one task.
        items: the input.
        sizer: says how large the chunks are, and how many are under way.
        length: how many items there are, if that is known; for the sizes of chunks alone.
        bound: how many items may be under way or have results that nobody has taken.
        ordered: whether results are given out in the order of the input.
        stops: whether an end in the middle stops what runs, too.
        owner: kept alive with this.

    """

    def __init__(
        self,
        sender: Send,
        items: Iterator[Any],
        sizer: Sizer,
        *,
        length: int | None,
        bound: int,
        ordered: bool,
        stops: bool = False,
        owner: object = None,
    ) -> None:
        """Read nothing yet."""
        self._sender = sender
        self._items: Iterator[Any] | None = items
        self._sizer = sizer
        self._length = length
        self._bound = bound
        self._ordered = ordered
        self._stops = stops
        self._owner = owner
        # Is told of chunks that fail when nobody will take them any more.
        self.left_to: Callable[[Part], None] | None = None
        # How many items have been read, and of these, how many have results to come or to take.
        self._read = 0
        self._waiting = 0
        self._closed = False
        self._process = os.getpid()
        # Those to give out: all, in the order of the input, or those that have ended.
        self._chunks: deque[Part] = deque()
        # How many items have ended, and how many of these have failed.
        self.done = self.failed = 0
        # Guards what follows, and tells of every end. Reentrant: the collector may drop a map, and
        # close this, at any point.
        # Entered as a lock: see `plait._mapping.intake`.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._pending: set[Part] = set()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    # -- reading and sending ------------------------------------------------

    def advance(self, *, briefly: bool = False) -> None:
        """Read and send what there is room for.

        Args:
            briefly: whether to come back before that, where the input is slow, also if there are
                no results to give out.

        Raises:
            BaseException: what the input raises that is no `Exception`. Any
                other takes its place among the results.

        """
        begun = time.perf_counter()
        while self._items is not None and (count := self._room()):
            try:
                self._advance(self._items, count)
            except BaseException as error:
                self.interrupted(error)
                raise
            if time.perf_counter() - begun > READING and (briefly or self.ready()):
                return

    def interrupted(self, error: BaseException) -> None:
        """Read no more: by Ctrl-C, say; whoever goes on is to hear that something is missing."""
        told = RuntimeError(
            f"items from number {self._read} on have not been sent, perhaps not read: "
            "that was interrupted"
        )
        told.__cause__ = error
        self._end_input(told)
        # Whoever does not go on knows from what is raised now.
        self._chunks[-1].future._forgive()

    def _advance(self, source: Iterator[Any], count: int) -> None:
        reading = time.perf_counter()
        whole = self._sizer.fixed is not None
        items, failure, ended = read_some(source, count, reading, whole=whole)
        if items:
            try:
                self._send(items, reading)
            except Exception as error:
                # Nothing more is taken.
                failure, ended = error, True
        if ended:
            self._end_input(failure)

    def _room(self) -> int:
        """How many items to read now."""
        with self._lock:
            left = self._left()
            if len(self._pending) >= self._sizer.depth(left):
                return 0
            # Less may wait by now than was sent before.
            room = max(0, self._bound - self._waiting)
            return min(self._sizer.size(left, self._bound), room)

    def _left(self) -> int | None:
        """How many items there are to read, if that is known."""
        return None if self._length is None else max(0, self._length - self._read)

    def _send(self, items: list[Any], reading: float) -> None:
        sent = self._sender(items)
        seconds = (time.perf_counter() - reading) / len(items)
        first, self._read = self._read, self._read + len(items)
        self._follow(sent, first, seconds)

    def _follow(
        self, sent: list[tuple[Future[Any], list[Any]]], first: int, seconds: float
    ) -> None:
        parts = []
        for future, items in sent:
            cost = seconds * len(items)
            parts.append(Part(future, items, cost, self._sender.single, first))
            first += len(items)
        with self._lock:
            self._waiting += first - parts[0].first
            self._pending.update(parts)
            if self._ordered:
                self._chunks.extend(parts)
        for part in parts:
            part.future.add_done_callback(partial(self._end, part))

    def _end(self, part: Part, future: Future[Any]) -> None:
        """Learn from a chunk that has ended; in whatever thread ends it."""
        count, failed, seconds = len(part.items), 0, None
        if future.cancelled() or future.exception() is not None:
            failed = count
        elif not part.single:
            seconds, _, failures = part.reply()
            failed = len(failures)
        with self._lock:
            self._pending.discard(part)
            part.ended, part.failed = True, failed > 0
            if not self._ordered:
                self._chunks.append(part)
            if seconds is not None:
                self._sizer.learn(count, seconds + part.cost)
            # What is withdrawn at the end has not failed.
            closed = self._closed
            if not closed:
                self.done += count
                self.failed += failed
        self._tell()
        if closed and failed and self.left_to is not None:
            self.left_to(part)

    def _tell(self) -> None:
        """Wake whoever waits for news."""
        with self._lock:
            self._news.notify_all()
            waiters, self._waiters = self._waiters, set()
        for loop, waiter in waiters:
            try:
                loop.call_soon_threadsafe(_resume, waiter)
            except RuntimeError:
                # Nobody waits any more on a loop that is closed.
                if not loop.is_closed():
                    raise

    def _end_input(self, failure: BaseException | None) -> None:
        """Read no more; what the input raised is given out in its place."""
        self._items = None
        if failure is None:
            return
        part = Part(Future(), [], 0.0, False, self._read)
        part.future.set_exception(failure)
        part.ended = part.failed = True
        self._chunks.append(part)

    # -- results ------------------------------------------------------------

    def ready(self) -> Part | None:
        """Return the chunk that is to be given out next, if it is there."""
        chunks = self._chunks
        return chunks[0] if chunks and chunks[0].ended else None

    @property
    def over(self) -> bool:
        """Whether there is nothing more to come."""
        return self._closed or (self._items is None and not self._pending and not self._chunks)

    def drop(self, part: Part) -> None:
        """Note that the results of the chunk that was ready have been taken."""
        if self._chunks and self._chunks[0] is part:
            self._chunks.popleft()
            with self._lock:
                self._waiting -= len(part.items)

    def send_again(self, part: Part) -> None:
        """Send the items of the chunk that is ready once more, each by itself.

        It has failed as a whole, and which of them is to blame has to be found out.
        """
        sent, failure = [], None
        for item in part.items:
            if failure is None:
                try:
                    sent += self._sender([item])
                    continue
                except Exception as error:
                    failure = error
            future: Future[Any] = Future()
            future.set_exception(failure)
            sent.append((future, [item]))
        self.drop(part)
        with self._lock:
            behind, self._chunks = self._chunks, deque()
            self.done -= len(part.items)
            self.failed -= len(part.items)
        self._follow(sent, part.first, 0.0)
        with self._lock:
            self._chunks.extend(behind)

    def wait(self) -> None:
        """Wait until something is ready, or there is room to read."""
        with self._lock:
            while not self._has_news():
                self._news.wait()

    async def wait_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait likewise, in a coroutine."""
        waiter = loop.create_future()
        with self._lock:
            if self._has_news():
                return
            self._waiters.add((loop, waiter))
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters.discard((loop, waiter))

    def _has_news(self) -> bool:
        return self.ready() is not None or self.over or self.can_read()

    def can_read(self) -> bool:
        """Whether there is room for more of the input."""
        return (
            self._items is not None
            and len(self._pending) < self._sizer.depth(self._left())
            and self._waiting < self._bound
        )

    def is_busy(self) -> bool:
        """Whether what has been sent lasts for a while."""
        return 2 * len(self._pending) >= self._sizer.depth(self._left())

    def lazily(self) -> Callable[[Any], Any] | None:
        """Return what makes the call of an item when its result is wanted; None: calls are sent."""
        return None

    # -- the end ------------------------------------------------------------

    def end(self) -> None:
        """Take note that nothing more is wanted."""

    def close(self, taken: Part | None = None) -> list[Part]:
        """Read no more, and withdraw what has not begun.

        Args:
            taken: the chunk whose results are being given out.

        Returns:
            The others that have ended.

        """
        self._items = None
        if os.getpid() != self._process:
            # This one was forked from the map's: nothing of it is here, and a thread that is not
            # here either may have held the lock.
            self._closed = True
            self._lock = threading.RLock()
            return []
        with self._lock:
            self._closed = True
            left = [part for part in self._chunks if part.ended and part is not taken]
            self._chunks = deque()
            pending = list(self._pending)
        self._tell()
        for part in pending:
            if self._stops:
                part.future.cancel()
            else:
                part.future._withdraw()
        return left
