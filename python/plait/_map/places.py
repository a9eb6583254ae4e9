"""Where the items of a `plait.map` run, and what takes them there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._engines.choosing import engine_for
from plait._engines.defaults import default_executor
from plait._engines.refusals import kind_of
from plait._map.calls import SingleSender, Steady
from plait._map.flow import Flow
from plait._mapping.chunk import Send
from plait._mapping.feed import LOOKAHEAD
from plait._mapping.inputs import is_settled, together
from plait._mapping.sizing import Sizer
from plait._task import bare, is_coroutine_function, terms_of
from plait._terms import DEFAULT
from plait._worker.chunk import GO_ON, STARRED

if TYPE_CHECKING:
    from plait._terms import On, Terms

__all__ = ["Place", "make_flow", "place_for"]

# So many coroutines are under way at a time, where the user does not say: as many connections as
# the usual client libraries open.
_COROUTINES = 100
# How many single items may be under way or have results that nobody has taken.
_SINGLES = 1024
# How many calls another's executor is given at a time that does not say how many it runs.
_UNKNOWN = 64


class Place(NamedTuple):
    """Where, and on which terms."""

    kind: str
    # A pool that the user named.
    pool: Any
    fn: Callable[..., Any]
    terms: Terms

    @property
    def is_plain(self) -> bool:
        """Whether the function has no terms that count for each call."""
        return self.terms._replace(on=None, name=None, grace=DEFAULT.grace) == DEFAULT


def place_for(fn: Callable[..., Any], on: On) -> Place:
    """Find where to run `fn`.

    Raises:
        TypeError: it cannot run there.
        ValueError: one of its terms cannot be kept there.
        RuntimeError: it was to run on an executor of another process.

    """
    terms = terms_of(fn) or DEFAULT
    where: Any = terms.on if on == "auto" and terms.on is not None else on
    # Refuses what cannot be.
    engine_for(fn, terms, where)
    kind = kind_of(where)
    if kind == "auto" and is_coroutine_function(fn):
        kind = "loop"
    return Place(kind, None if isinstance(where, str) else where, fn, terms)


def make_flow(
    place: Place,
    iterables: tuple[Iterable[Any], ...],
    length: int | None,
    window: int | None,
    ordered: bool,
    in_coroutine: bool,
) -> Flow:
    """Begin a map.

    Raises:
        RuntimeError: it would wait for itself, or its pool takes nothing more.

    """
    kind, starred = place.kind, len(iterables) > 1
    if kind == "auto":
        return _auto_flow(place, iterables, length, window, ordered, in_coroutine)
    if kind == "loop" and not in_coroutine and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "this thread runs the event loop that the coroutines of the map need: to wait for them "
            "here would stop both for ever; use `async for`"
        )
    pool: Any = place.pool
    sender: Send
    if kind == "process" and place.is_plain:
        pool = default_executor("process") if pool is None else pool
        mode = GO_ON | (STARRED if starred else 0)
        sender, sizer = pool._map_with(bare(place.fn), mode, None)
        bound = LOOKAHEAD
    else:
        where: Any = kind if pool is None else pool
        engine = engine_for(place.fn, place.terms, where)
        sender = SingleSender(engine, place.fn, place.terms, starred=starred)
        sizer = _sizer(kind, pool, window)
        bound = 1 if kind == "serial" else max(_SINGLES, sizer.depth())
    return Flow(
        sender,
        together(iterables),
        sizer,
        length=length,
        bound=bound if window is None or kind == "serial" else window,
        ordered=ordered,
        stops=kind == "loop",
        owner=pool,
    )


def _auto_flow(
    place: Place,
    iterables: tuple[Iterable[Any], ...],
    length: int | None,
    window: int | None,
    ordered: bool,
    in_coroutine: bool,
) -> Flow:
    from plait._auto.flow import AutoFlow
    from plait._auto.mapping import AutoSender

    sender = AutoSender(
        place.fn,
        place.terms,
        starred=len(iterables) > 1,
        beside_loop=in_coroutine,
        changing=not all(map(is_settled, iterables)),
        window=window,
        length=length,
    )
    return AutoFlow(sender, together(iterables), length=length, ordered=ordered)


def _sizer(kind: str, pool: Any, window: int | None) -> Sizer:
    if kind == "serial":
        return Steady(1)
    if window is not None:
        return Steady(window)
    if kind == "loop":
        return Steady(_COROUTINES)
    if pool is None:
        pool = default_executor("thread" if kind == "thread" else "process")
    workers = getattr(pool, "_max_workers", None)
    return Sizer(workers if isinstance(workers, int) else _UNKNOWN, 1)
