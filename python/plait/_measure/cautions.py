"""Functions of which a call does not show what they cost."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["caution"]


def caution(fn: Callable[..., Any]) -> str | None:
    """Say why calling a function again and again tells little about it; None if it does tell.

    Args:
        fn: The function that was measured.
    """
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        return "it is a generator function, and calling it runs nothing: measure what iterates"
    if hasattr(fn, "cache_info") and hasattr(fn, "__wrapped__"):
        return "its results are cached, and only looking them up was measured: measure __wrapped__"
    return None
