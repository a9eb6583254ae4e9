"""The failure of a map whose results nobody asks for."""

from __future__ import annotations

import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from plait import _lost
from plait._binding import native
from plait._pickling.results import decode_failure

if TYPE_CHECKING:
    from plait._mapping.chunk import Chunk
    from plait._mapping.feed import Feed

__all__ = ["Losses", "decoded"]

# Those of maps whose results are still there.
_kept: weakref.WeakSet[Losses] = weakref.WeakSet()


class Losses:
    """Reports the first failure of a map, unless its results have given one out.

    One stands for all: who iterates sees no more than the first either.
    """

    def __init__(self, name: str, pool: int) -> None:
        """Remember where the map was begun, and the number of its pool."""
        self._name = name
        self.pool = pool
        self._site = native.current_site()
        # Whether one was given out or reported.
        self.told = False
        self.feed: Feed | None = None
        # The first to fail, where the feed does not keep its chunks.
        self._first: Chunk | None = None
        _kept.add(self)

    def abandon(self) -> None:
        """Say that the results are gone, with what is still to come."""
        _kept.discard(self)
        feed = self.feed
        if feed is None or self.told:
            return
        for chunk in feed.leave(self.look):
            self.look(chunk)
        if self._first is not None:
            self.look(self._first)

    def note(self, chunk: Chunk) -> None:
        """Keep a chunk that has ended, if it has failed and is the first."""
        future = chunk.future
        if self._first is not None or future.cancelled():
            return
        if future._has_failed() or chunk.reply()[2]:
            self._first = chunk

    def look(self, chunk: Chunk) -> None:
        """Report what a chunk that has ended has failed with."""
        if self.told or not chunk.future.done() or chunk.future._is_forgiven():
            return
        try:
            failures = chunk.reply()[2]
        except CancelledError:
            return
        except BaseException as error:
            self.report(error)
        else:
            self.look_at(failures)

    def look_at(self, failures: dict[int, Any]) -> None:
        """Report the first of some failures."""
        if failures and not self.told:
            self.report(decoded(failures[min(failures)], self._name))

    def report(self, error: BaseException) -> None:
        """Report a failure, if it is the first."""
        if not self.told:
            self.told = True
            _lost.report(error, self._name, *(self._site or (None, None)))


def decoded(failure: Any, name: str) -> BaseException:
    """Return what an item of a call of `name` has raised."""
    # In a thread it was kept as it is.
    return failure if isinstance(failure, BaseException) else decode_failure(failure, name)


def _look() -> None:
    for losses in list(_kept):
        losses.abandon()


class _Keeper:
    """Has the maps of a pool looked at some time after its end."""

    def keeps(self, pool: int) -> bool:
        return any(losses.pool == pool and not losses.told for losses in list(_kept))

    def look(self, pool: int) -> None:
        for losses in list(_kept):
            if losses.pool == pool:
                losses.abandon()


_lost.look_at_exit(_look)
_lost.look_at_pools_ends(_Keeper())
