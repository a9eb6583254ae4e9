"""What `plait.map` returns."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from plait._map.source import Source

__all__ = ["Map"]

_T = TypeVar("_T")


# What `chain` does, it does without Python code for each result: a list of them goes out as fast as
# by any loop.
class Map(chain[_T]):
    """The results of a `plait.map`: iterate over them by `for` or by `async for`.

    An exception of an item is raised in its place, with a note that names the
    item; the next step goes on behind it. Several threads, or several
    coroutines of a loop, may take results from one map: each is given out once.
    """

    _source: Source

    @classmethod
    def of(cls, source: Source) -> Map[Any]:
        """Give out what comes of `source`."""
        made = cls.from_iterable(source)
        assert isinstance(made, cls)
        made._source = source
        return made

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> _T:
        """Wait for the next result."""
        source = self._source
        while True:
            for value in source.given:
                return value  # type: ignore[no-any-return]
            if not await source.load():
                raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration: read no more, and withdraw what has not begun.

        What runs goes on, and its results are dropped; coroutines on a loop
        are cancelled.
        """
        self._source.close()

    async def aclose(self) -> None:
        """Do as `close`, for `contextlib.aclosing`."""
        self._source.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the iteration; see `close`."""
        self._source.close()

    def __del__(self) -> None:
        source: Source | None = getattr(self, "_source", None)
        if source is not None:
            source.close()
