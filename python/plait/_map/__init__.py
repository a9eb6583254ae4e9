"""`plait.map`: a function on many items, wherever it runs; results one by one, as they come."""

# ruff: noqa: A001 - its name is that of the builtin, of which it is the like

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, overload

from plait._map.places import make_flow, place_for
from plait._map.results import Map
from plait._map.source import Source
from plait._pickling.outbound import describe
from plait._submit import check_function
from plait._terms import place

if TYPE_CHECKING:
    from plait._terms import On

__all__ = ["Map", "map"]

_T = TypeVar("_T")
_A = TypeVar("_A")


@overload
def map(
    fn: Callable[[_A], Coroutine[Any, Any, _T]],
    iterable: Iterable[_A],
    /,
    *,
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: Literal[False] = False,
    progress: bool = False,
) -> Map[_T]: ...
@overload
def map(
    fn: Callable[[_A], _T],
    iterable: Iterable[_A],
    /,
    *,
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: Literal[False] = False,
    progress: bool = False,
) -> Map[_T]: ...
@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, _T]],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: Literal[False] = False,
    progress: bool = False,
) -> Map[_T]: ...
@overload
def map(
    fn: Callable[..., _T],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: Literal[False] = False,
    progress: bool = False,
) -> Map[_T]: ...
@overload
def map(
    fn: Callable[..., Coroutine[Any, Any, _T]],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: bool,
    progress: bool = False,
) -> Map[_T | BaseException]: ...
@overload
def map(
    fn: Callable[..., _T],
    iterable: Iterable[Any],
    /,
    *iterables: Iterable[Any],
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: bool,
    progress: bool = False,
) -> Map[_T | BaseException]: ...
def map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    on: On = "auto",
    ordered: bool = True,
    window: SupportsIndex | None = None,
    return_exceptions: bool = False,
    progress: bool = False,
) -> Any:
    """Call `fn` on the items of the iterables, many at a time; give out the results one by one.

    What this returns is an iterator and an async iterator. Nothing happens
    before its first step; then the input is read only as far ahead as is
    needed, by whoever takes the results: it may have no end.

    An item that fails is raised in its place, with a note that names it, and
    the next step goes on behind it; so it is with one that runs into the
    timeout of `plait.task`, or whose worker process dies. What the input raises
    ends the map, when all results before it have been given out.

    Calls in processes travel in chunks of about a millisecond of work. If a
    process dies, the items of its chunk are called again there, each by
    itself, so that all others have their results: functions whose calls must
    not be repeated get terms (`plait.task(timeout=...)`), and travel one by
    one.

    Args:
        fn: takes as many arguments as there are iterables.
        iterables: read up to the end of the shortest.
        on: where to run it, as for `plait.submit`. "auto": where `plait.task`
            said; or else a coroutine function on the loop, anything else where
            its first calls show that it belongs (see `plait.explain`).
        ordered: whether results come in the order of the items, or as they are
            there.
        window: how many items may be under way or have results that nobody has
            taken. By default as many as keep the workers busy (of coroutines
            100), and at most 16,384 with results that nobody has taken, where
            items travel in chunks, and 1,024 elsewhere.
        return_exceptions: whether exceptions of items are results like others.
        progress: whether to show on standard error how far it is: a bar on a
            terminal, a line every few seconds elsewhere.

    Returns:
        The results. Dropping it, or its `close`, withdraws what has not begun.

    Raises:
        TypeError: `fn` cannot be called, or not there; something cannot be
            iterated over; there is nothing to iterate over.
        ValueError: `window` is less than one, there is no such place, or it
            cannot keep one of the terms of `fn`.

    Example:
        >>> import plait
        >>> list(plait.map(pow, [2, 3, 4], [5, 2, 3]))
        [32, 9, 64]

    """
    check_function(fn)
    where = place_for(fn, place(on))
    if not iterables:
        raise TypeError("map must have at least one iterable")
    for number, items in enumerate(iterables, 1):
        if not hasattr(type(items), "__iter__") and not hasattr(type(items), "__getitem__"):
            kind = type(items).__qualname__
            raise TypeError(f"argument {number} of map, after fn, is no iterable but a {kind}")
    bound = None if window is None else operator.index(window)
    if bound is not None and bound < 1:
        raise ValueError(f"window must be at least 1, not {bound}")
    name = describe(fn)
    bar, length = None, _length(iterables)
    if progress:
        from plait._progress import Bar

        bar = Bar(name, length)
    start = partial(make_flow, where, iterables, length, bound, bool(ordered))
    return Map.of(Source(start, name, bool(return_exceptions), bar))


def _length(iterables: tuple[Any, ...]) -> int | None:
    """Count the items, if that can be known before they are read."""
    try:
        return min(len(items) for items in iterables)
    except TypeError:
        return None
