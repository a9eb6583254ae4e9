"""Exceptions of the user's function pass through with a note on where it ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["noting"]


@contextmanager
def noting(where: str) -> Iterator[None]:
    """Add to an exception that passes where the function was running."""
    try:
        yield
    except Exception as error:
        error.add_note(f"plait.measure was running it {where}")
        raise
