"""One map, from the reading of its input to the last of its results."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress

from plait._mapping.chunk import Chunk
from plait._mapping.intake import Intake

__all__ = ["LOOKAHEAD", "Feed"]

# How many items of an input that is not accepted as a whole may be under way
# or wait for somebody to take their results. With fewer, one slow item would
# soon stop the others: no result is given out before it.
LOOKAHEAD = 16_384


class Feed(Intake):
    """The chunks of one map, from the reading of their items to their end."""

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

    def taken(self, chunk: Chunk) -> None:
        """Note that somebody has taken the results of a chunk."""
        with self._lock:
            full = self._bound is not None and self._waiting >= self._bound
            self._waiting -= len(chunk.items)
            if full:
                self._news.notify_all()

    def leave(self, look: Callable[[Chunk], None]) -> list[Chunk]:
        """Note that nobody will take results; `look` is told of chunks that end from now on.

        Returns:
            The chunks that nobody has taken.

        """
        with self._lock:
            self._left_to = look
            return list(self._chunks)

    def all_taken(self) -> Iterator[Chunk]:
        """Take the chunks, all of which have ended."""
        while self._chunks:
            yield self._chunks.popleft()

    def _wait(self, timeout: float | None) -> None:
        """Wait for news, if there is nothing to do."""
        with self._lock:
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
        with self._lock:
            self._draining = True
            self._hurried = self._hurried or not wait
            self._news.notify_all()
        while self._items is not None:
            self.advance()
            with self._lock:
                if self._reader == threading.get_ident():
                    return  # it is read further up in this very thread
                timeout = None if end is None else end - time.monotonic()
                if timeout is not None and timeout <= 0:
                    return
                if self._items is not None and not self._can_read():
                    self._news.wait(timeout)

    def drain(self) -> None:
        """Have whoever reads read on, though nobody takes the results."""
        with self._lock:
            self._draining = True
            self._news.notify_all()

    def serve(self) -> None:
        """Read and send as there is room, until the end of the input."""
        while self._items is not None:
            self.advance()
            with self._lock:
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
                ),
                wanted=True,
            )

    def cancel(self) -> None:
        """Read no more, and withdraw what has not begun; let the rest run."""
        self._stop()
        with self._lock:
            pending = list(self._pending)
        for chunk in pending:
            chunk.future._withdraw()
