"""The items of a map whose calls must be made where they are."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from plait._auto.comparing import parts_of
from plait._auto.fixed import are_plain, is_fixed
from plait._auto.unread import without_reading

if TYPE_CHECKING:
    from plait._auto.calling import Caller

__all__ = ["Staying"]

# So many items are remembered of an input that may give out one object again and again.
_REMEMBERED = 4
# So many levels of what is in it, and so many parts of each, are looked for again.
_DEEP, _WIDE = 2, 32


class Staying:
    """Tells which they are.

    Args:
        caller: makes the calls.
        loop: what this thread runs, if it runs one.
        starred: whether items are tuples of arguments.
        changing: whether the input may change what it has given out before.

    """

    def __init__(
        self,
        caller: Caller,
        loop: asyncio.AbstractEventLoop | None,
        starred: bool,
        changing: bool,
    ) -> None:
        """Know no item yet."""
        self._caller = caller
        self._loop = loop
        self._starred = starred
        self._changing = changing
        self._seen: deque[list[Any]] = deque(maxlen=_REMEMBERED)

    def first(self, items: list[Any]) -> int | None:
        """Find the first item whose call must be made where it is.

        Raises:
            NotRead: a thread must first read what calls would call.

        """
        if self._caller.terms.parallel_safe:
            return None
        if self._loop is None:
            return self._looked_for(items)
        with without_reading():
            return self._looked_for(items)

    def is_known(self, items: list[Any], number: int) -> bool:
        """Whether enough items were seen of an input that may give out one object again and again.

        Args:
            items: those that come next.
            number: how many there were, with these.

        """
        return not self._changing or number > _REMEMBERED or all(map(is_fixed, items))

    def _looked_for(self, items: list[Any]) -> int | None:
        caller = self._caller
        caller.record.check()
        if not caller.depends_on_arguments and are_plain(
            chain.from_iterable(items) if self._starred else items
        ):
            return None
        return next((place for place, item in enumerate(items) if self._is_bound(item)), None)

    def _is_bound(self, item: Any) -> bool:
        """Whether a call must stay where it is made, by what is known of it."""
        arguments = tuple(item) if self._starred else (item,)
        # Here, and not beside the loop: who has to read code for that, raises.
        if self._caller.is_bound(None, arguments, {}):
            return True
        return self._changing and any(map(self._is_again, arguments))

    def _is_again(self, value: Any) -> bool:
        """Whether the input has given out this object before, and can change it."""
        if is_fixed(value):
            return False
        parts = parts_of(value, _DEEP, _WIDE)
        found = any(part is old for seen in self._seen for old in seen for part in parts)
        self._seen.append(parts)
        if found:
            self._caller.record.note_bound(
                "is given the same object again by its input, which may change it in between"
            )
        return found
