"""Looks at functions for which no code is read: a loop's thread has no time for that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["NotRead", "about_to_read", "without_reading"]


# No `Exception`: whoever reads code takes those for code that cannot be read.
class NotRead(BaseException):
    """Code would have to be read first."""


class _Here(threading.local):
    forbidden = False


_here = _Here()


@contextmanager
def without_reading() -> Iterator[None]:
    """Have `NotRead` raised, in this thread, where code would have to be read."""
    before, _here.forbidden = _here.forbidden, True
    try:
        yield
    finally:
        _here.forbidden = before


def about_to_read() -> None:
    """Say that code is going to be read.

    Raises:
        NotRead: that is not wanted here and now.

    """
    if _here.forbidden:
        raise NotRead
