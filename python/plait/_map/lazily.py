"""Calls that are made in the thread that takes the results, each when its result is wanted.

Nothing stands between the input, the function and whoever iterates: no chunk and no future for an
item. What is raised in the place of an item, and what ends the map, is as anywhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

from plait._map.errors import named, raisable

if TYPE_CHECKING:
    from plait._map.flow import Flow
    from plait._map.source import Source

__all__ = ["Lazily"]


class Lazily:
    """Gives out the results of the items that a flow has not read yet.

    Args:
        source: gives this out; its lock is held for each item, input and call.
        flow: has the input, and is told of its end.
        call: makes the call of an item.
        name: of the function.
        returned: whether exceptions are results.

    """

    def __init__(
        self, source: Source, flow: Flow, call: Callable[[Any], Any], name: str, *, returned: bool
    ) -> None:
        """Read nothing yet."""
        self._source = source
        self._flow = flow
        self._call = call
        self._name = name
        self._returned = returned
        # A kind of result that is no coroutine.
        self._kind: type = type(None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Read an item, and make its call.

        Raises:
            StopIteration: whoever gives this out is to look what is next.
            BaseException: what the call raises.

        """
        source, me = self._source, threading.get_ident()
        if source.owner == me:
            raise ValueError("a call of a plait.map asks for results of that very map")
        with source.lock:
            source.owner = me
            try:
                return self._next()
            finally:
                source.owner = None

    def _next(self) -> Any:
        flow = self._flow
        items, number = flow._items, flow._read
        if items is None:
            raise StopIteration
        try:
            item = next(items)
        except StopIteration:
            flow._end_input(None)
            raise
        except Exception as error:
            # It is given out in its place, which is next.
            flow._end_input(error)
            raise StopIteration from None
        except BaseException as error:
            flow.interrupted(error)
            raise
        context, failure = copy_context(), None
        try:
            value = context.run(self._call, item)
            kind = type(value)
            if kind is not self._kind:
                if isinstance(value, Coroutine):
                    value = context.run(_awaited, value)
                else:
                    self._kind = kind
        except (KeyboardInterrupt, SystemExit) as error:
            flow.interrupted(error)
            raise
        except BaseException as error:
            failure = error
        flow._read = number + 1
        flow.done += 1
        if failure is None:
            return value
        flow.failed += 1
        try:
            failure = named(failure, self._name, number, item)
            if self._returned:
                return failure
            raise raisable(failure)
        finally:
            # The error has this frame.
            del failure


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    from plait._serial import run_coroutine

    return run_coroutine(coroutine)
