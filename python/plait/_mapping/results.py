"""What the user iterates over."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from itertools import chain, repeat
from typing import Any, TypeVar

from plait._mapping.feed import Feed
from plait._mapping.losing import Losses
from plait._pickling.results import decode_failure

__all__ = ["Results", "given_out"]

_T = TypeVar("_T")


# So many values of a chunk, or more, are small, since they were made in a few
# milliseconds; or the user wants so many to be there at once.
MANY = 256


def given_out(values: list[_T]) -> Iterator[_T]:
    """Iterate over values, letting go of each if they are few; the list is the iterator's.

    It runs no Python code for each of them, as a generator would. To let go of
    one takes about 20 ns; a list's own iterator takes 4 for each.
    """
    if len(values) >= MANY:
        return iter(values)
    values.reverse()
    return map(list.pop, repeat(values, len(values)))


class Results(chain[_T]):
    """The results of a `map`, in the order of the items.

    An exception of an item is raised in its place, and ends the iteration.
    Dropped before the first result was asked for, it leaves everything to run;
    later, or by `close`, it withdraws what has not begun.
    """

    _feed: Feed
    _parts: Generator[Iterator[_T], None, None]
    _losses: Losses

    @classmethod
    def of(cls, feed: Feed, name: str, timeout: float | None, pool: int) -> "Results[_T]":
        """Iterate over what the chunks of `feed` return.

        Args:
            feed: has begun.
            name: the name of the function.
            timeout: how many seconds from now a result may be late.
            pool: the number of the pool.

        """
        losses = Losses(name, pool)
        losses.feed = feed
        since = time.monotonic()
        parts: Generator[Iterator[_T], None, None] = _parts(feed, name, timeout, since, losses)
        made = cls.from_iterable(parts)
        assert isinstance(made, cls)
        made._feed = feed
        made._parts = parts
        made._losses = losses
        return made

    def close(self) -> None:
        """End the iteration and withdraw what has not begun."""
        self._feed.cancel()
        self._parts.close()
        deque(self, maxlen=0)  # what is left of the chunk that is given out

    def __del__(self) -> None:
        feed: Feed | None = getattr(self, "_feed", None)
        # A generator that has not begun is dropped without a word.
        if feed is not None and feed.open and not feed.begun and not feed.copied:
            feed.finish(wait=False)
        losses: Losses | None = getattr(self, "_losses", None)
        if losses is not None:
            losses.abandon()


def _parts(
    feed: Feed, name: str, timeout: float | None, since: float, losses: Losses
) -> Generator[Iterator[Any], None, None]:
    def left() -> float | None:
        return None if timeout is None else since + timeout - time.monotonic()

    feed.begun = True
    given = 0
    try:
        while True:
            try:
                chunk = feed.take(left)
            except TimeoutError:
                # That of the wait, not of an item.
                raise TimeoutError(_late(feed, name, timeout, given)) from None
            if chunk is None:
                return
            try:
                _, values, failures = chunk.reply()
            except BaseException:
                losses.told = True
                raise
            del chunk
            place = len(values)
            given += place
            try:
                yield given_out(values)
            except GeneratorExit:
                losses.look_at(failures)
                raise
            if failures:
                losses.told = True
                raise decode_failure(failures[place], name)
    finally:
        feed.cancel()


def _late(feed: Feed, name: str, timeout: float | None, given: int) -> str:
    left = feed.left
    which = f"item {given}" if left == 1 else f"items {given} to {given + left - 1}"
    unread = " and of what has not been read" if feed.open and not feed.copied else ""
    return (
        f"map of {name}: the results of {which}{unread} have not come within the timeout of "
        f"{timeout} s; what has not begun is withdrawn"
    )
