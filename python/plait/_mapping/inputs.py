"""What a map is given to read."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["copy", "is_settled", "rows", "together"]

# Nobody can change them.
_FIXED = (tuple, range, str, bytes, frozenset)
# A copy is made without running code of the user's.
_COPIED: tuple[type, ...] = (
    list,
    dict,
    set,
    deque,
    bytearray,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)


def copy(items: Iterable[Any]) -> Sequence[Any] | frozenset[Any] | None:
    """Return what any thread may read now and later; None if there is no such thing.

    An input of any other kind runs code of the user's when it is read, or
    there is no telling that it does not.
    """
    if type(items) in _FIXED:
        return items  # type: ignore[return-value]
    return list(items) if type(items) in _COPIED else None


def is_settled(items: Iterable[Any]) -> bool:
    """Whether reading the input runs no code of the user's."""
    return type(items) in _FIXED or type(items) in _COPIED


def rows(iterables: tuple[Iterable[Any], ...]) -> tuple[Iterator[Any], int | None]:
    """Join the inputs of `map`, up to the end of the shortest.

    Returns:
        The items, tuples if there are several inputs; and how many there are,
        if they are a copy.

    """
    if not iterables:
        return iter(()), 0
    copies = [copy(items) for items in iterables]
    known = [items for items in copies if items is not None]
    if len(known) < len(copies):
        return together(iterables), None
    return together(known), min(map(len, known))


def together(iterables: Sequence[Iterable[Any]]) -> Iterator[Any]:
    return iter(iterables[0]) if len(iterables) == 1 else zip(*iterables, strict=False)
