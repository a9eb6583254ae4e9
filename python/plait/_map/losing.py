"""The failures of a map that nobody takes."""

from __future__ import annotations

import logging
import weakref
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING

from plait import _lost
from plait._binding import native
from plait._map.errors import named
from plait._mapping.losing import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plait._map.flow import Part
    from plait._map.source import Source

__all__ = ["Losses"]

_logger = logging.getLogger("plait.lost")

# So many failures of one map are reported; thousands may be under way.
_MOST = 100

# The maps that are there, for what nobody has taken of them at exit.
_kept: weakref.WeakSet[Source] = weakref.WeakSet()


class Losses:
    """Reports what items have failed with that nobody is given any more.

    Whoever iterates gets to see each failure, in its place: so each that he
    does not come to is lost.
    """

    def __init__(self, source: Source, name: str) -> None:
        """Remember where the map was made."""
        self._name = name
        self._site = native.current_site() or (None, None)
        self._reported = 0
        _kept.add(source)

    def left(self, failures: list[BaseException], parts: list[Part]) -> None:
        """Report what is left of a map: it may be the collector that drops it.

        Args:
            failures: of items.
            parts: chunks that have ended.

        """
        parts = [part for part in parts if part.failed]
        if failures or parts:
            _lost.apart(partial(self._look, failures, parts))

    def _look(self, failures: list[BaseException], parts: list[Part]) -> None:
        self._report(failures)
        for part in parts:
            self.look(part)

    def look(self, part: Part) -> None:
        """Report the failures of a chunk that has ended."""
        future = part.future
        if future.cancelled() or future._is_forgiven():
            return
        error = future.exception()
        if error is not None:
            # If it was sent as a whole, one stands for all.
            items = part.items
            self._report([self._named(part, 0, error)] if len(items) == 1 else [error])
            return
        try:
            failures = part.reply()[2]
        except CancelledError:
            return
        self._report(self._named(part, place, failures[place]) for place in sorted(failures))

    def _named(self, part: Part, place: int, failure: object) -> BaseException:
        error = decoded(failure, self._name)
        return named(error, self._name, part.first + place, part.items[place])

    def _report(self, failures: Iterable[BaseException]) -> None:
        for error in failures:
            self._reported += 1
            if self._reported <= _MOST:
                _lost.report(error, self._name, *self._site)
            elif not isinstance(error, CancelledError):
                _lost.note()
                if self._reported == _MOST + 1:
                    _logger.error(
                        "the plait.map of %s at %s:%s has lost more than %d exceptions: "
                        "the others are counted only",
                        self._name,
                        *self._site,
                        _MOST,
                    )


def _look() -> None:
    for source in list(_kept):
        source.close()


_lost.look_at_exit(_look)
