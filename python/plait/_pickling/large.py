"""Large `bytes`, which travel as buffers."""

import pickle
from collections.abc import Iterable
from typing import Any

from plait._binding import native

__all__ = ["as_buffer", "as_buffers"]

# Above this the allocator maps memory for each block anew, in pages of 4 KiB
# unless it is told otherwise, which pickle does not: 100 MB there and back take
# 0.11 s by huge pages, and 0.19 s without.
LARGE = 32 << 20


class _Large:
    """Stands in for `bytes` in a pickle."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return native.large_bytes, (pickle.PickleBuffer(self._data),)


def as_buffer(value: Any) -> Any:
    """Return what to pickle for `value`: that is `bytes` again at the other side."""
    return _Large(value) if type(value) is bytes and len(value) >= LARGE else value


def as_buffers(values: Iterable[Any]) -> list[Any]:
    """As `as_buffer`, of each; what is one object here is one there."""
    made: dict[int, Any] = {}
    return [made.setdefault(id(value), as_buffer(value)) for value in values]
