"""What comes of a map, chunk by chunk, for whoever takes it, by `for` or by `async for`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any

from plait._map.errors import again, named, raisable
from plait._map.lazily import Lazily
from plait._map.losing import Losses
from plait._mapping.results import given_out
from plait._pickling.results import decode_failure

if TYPE_CHECKING:
    from plait._map.flow import Flow, Part
    from plait._progress import Bar

__all__ = ["Source"]

# A coroutine that finds result after result there lets others run after so many seconds.
_SLICE = 1e-3


class Source:
    """Gives out iterators over results that are there: what `Map` is a chain of.

    A chain forgets a source that raises. So this never does, but gives out an
    iterator that does, which is asked again afterwards.

    Args:
        start: makes the flow; told whether a coroutine asks.
        name: of the function.
        returned: whether exceptions are results.
        bar: is told how far it is.

    """

    def __init__(
        self, start: Callable[[bool], Flow], name: str, returned: bool, bar: Bar | None
    ) -> None:
        """Start nothing yet."""
        self._start = start
        self._name = name
        self._returned = returned
        self._bar = bar
        self._flow: Flow | None = None
        self._closed = False
        # Who takes the next chunk.
        self.lock = threading.Lock()
        self.owner: int | None = None
        # The chunk whose results are given out, the list of these, and the iterator over that.
        # The chunk leaves the flow when the next one is asked for: whatever interrupts this
        # thread, no result is lost or given twice.
        self._part: Part | None = None
        self._left: list[Any] = []
        self.given: Iterator[Any] = iter(())
        # Its failures, by their places, and how many results it has.
        self._failures: dict[int, BaseException] = {}
        self._count = 0
        self._losses = Losses(self, name)
        self._since = 0.0

    def __iter__(self) -> Iterator[Iterator[Any]]:
        return self

    def __next__(self) -> Iterator[Any]:
        """Wait for results, and return an iterator over them."""
        try:
            if self.owner == threading.get_ident():
                raise ValueError("the input of a plait.map asks for results of that very map")
            with self.lock:
                self.owner = threading.get_ident()
                try:
                    if self._take():
                        return self.given
                finally:
                    self.owner = None
        except BaseException as error:
            return _raising(error)
        raise StopIteration

    def _take(self) -> bool:
        """Wait for results; false after the last."""
        while not self._count_left():
            flow = self._begun(in_coroutine=False)
            if flow is None:
                return False
            self._drop(flow)
            call = flow.lazily()
            if call is not None:
                self._part, self._left, self._count, self._failures = None, [], 0, {}
                self.given = Lazily(self, flow, call, self._name, returned=self._returned)
                return True
            # What is there is given out first, but not so long that the workers run out of work.
            if not (flow.ready() and flow.is_busy()):
                flow.advance()
            if not self._load_ready(flow):
                if flow.over:
                    self._finish()
                    return False
                flow.wait()
        return True

    def _count_left(self) -> int:
        # Of a list, an iterator knows; others take what they give out from it.
        hint = length_hint(self.given, -1)
        return len(self._left) if hint < 0 else hint

    async def load(self) -> bool:
        """Wait for results in a coroutine; false after the last."""
        loop = asyncio.get_running_loop()
        while not self._count_left():
            if not self.lock.acquire(blocking=False):
                raise RuntimeError(
                    "a thread waits for the next result of this plait.map: take them by "
                    "`for` or by `async for`, not by both at once"
                )
            try:
                flow = self._begun(in_coroutine=True)
                if flow is None:
                    return False
                self._drop(flow)
                if not (flow.ready() and flow.is_busy()):
                    flow.advance(briefly=True)
                loaded = self._load_ready(flow)
            finally:
                self.lock.release()
            if not loaded and flow.over:
                self._finish()
                return False
            if not loaded and not flow.can_read():
                await flow.wait_on(loop)
                self._since = time.perf_counter()
            elif not loaded or time.perf_counter() - self._since > _SLICE:
                # The input is slow, or there is one result after another: others run in between.
                await asyncio.sleep(0)
                self._since = time.perf_counter()
        return True

    def _begun(self, *, in_coroutine: bool) -> Flow | None:
        """Return the flow, made at the first step; None after the end."""
        if self._flow is None and not self._closed:
            self._flow = self._start(in_coroutine)
            self._flow.left_to = self._losses.look
            self._start = _nothing
            if self._bar is not None:
                self._bar.follow(self._flow)
        return None if self._closed else self._flow

    def _drop(self, flow: Flow) -> None:
        """Do without the chunk whose results are all given out."""
        if self._part is not None:
            flow.drop(self._part)
            self._part = None

    def _load_ready(self, flow: Flow) -> bool:
        """Prepare to give out the results of the next chunk, if they are there."""
        part = flow.ready()
        if part is None:
            return False
        left, given, told = self._unpacked(flow, part)
        if not left:
            return False  # it was sent again
        self._count, self._failures = len(left), told
        self._part, self._left, self.given = part, left, given
        return True

    def _unpacked(
        self, flow: Flow, part: Part
    ) -> tuple[list[Any], Iterator[Any], dict[int, BaseException]]:
        error = CancelledError() if part.future.cancelled() else part.future.exception()
        if error is not None and not part.items:
            # The input's, or the pool's when it took nothing more.
            return *_given([(None, error)]), {0: error}
        count = len(part.items)
        if error is None:
            _, values, failures = part.reply()
            values = list(values)
        elif count > 1 and not part.future.cancelled():
            flow.send_again(part)
            return [], iter(()), {}
        else:
            values = [None] * count
            failures = dict.fromkeys(range(count), error)
        if not failures:
            return values, given_out(values), {}
        told = {place: self._told(part, place, failure) for place, failure in failures.items()}
        if self._returned:
            for place, failure in told.items():
                values[place] = failure
            return values, given_out(values), told
        entries = [(value, told.get(place)) for place, value in enumerate(values)]
        return *_given(entries), told

    def _told(self, part: Part, place: int, failure: Any) -> BaseException:
        """Make what is raised, or given, in the place of an item that has failed."""
        if not isinstance(failure, BaseException):
            failure = decode_failure(failure, self._name)
        elif len(part.items) > 1:
            failure = again(failure)
        return named(failure, self._name, part.first + place, part.items[place])

    def _finish(self) -> None:
        self._closed = True
        if self._flow is not None:
            self._flow.end()
        if self._bar is not None:
            self._bar.end()

    def close(self) -> None:
        """Read no more, and withdraw what has not begun."""
        if self._closed:
            return
        self._closed = True
        # One step each: it may be the collector that drops the map.
        given, failures = self._count - self._count_left(), self._failures
        self._failures = {}
        self._left.clear()
        flow, self._flow, part, self._part = self._flow, None, self._part, None
        missed = [failures[place] for place in sorted(failures) if place >= given]
        self._losses.left(missed, [] if flow is None else flow.close(part))
        if flow is not None:
            flow.end()
        if self._bar is not None:
            self._bar.end()


def _nothing(in_coroutine: bool) -> Flow:
    raise AssertionError("a map begins once")


def _given(
    entries: list[tuple[Any, BaseException | None]],
) -> tuple[list[Any], Iterator[Any]]:
    """Iterate over values and errors, each raised in its place; the list is empty afterwards."""
    entries.reverse()

    def give(entries: list[tuple[Any, BaseException | None]]) -> Any:
        value, error = entries.pop()
        if error is None:
            return value
        try:
            raise raisable(error)
        finally:
            # The error has this frame.
            del error, entries

    return entries, map(give, repeat(entries, len(entries)))


def _raising(error: BaseException) -> Iterator[Any]:
    return map(_raise, (error,))


def _raise(error: BaseException) -> Any:
    try:
        raise error
    finally:
        del error
