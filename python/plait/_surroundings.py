"""What processes have from this one when they are started, and whether it is still so."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["Surroundings"]


class Surroundings:
    """The environment, the working directory, the path, the arguments and limits, as they were."""

    __slots__ = ("_directory", "_environment", "_limits", "_lists")

    def __init__(self) -> None:
        """Take them down."""
        self._environment = dict(_environment())
        self._directory = _directory()
        self._lists = list(sys.path), list(sys.argv)
        self._limits = _limits()

    def hold(self) -> bool:
        """Whether they are the same now."""
        return (
            _are_same(self._environment, _environment())
            and self._lists == (sys.path, sys.argv)
            and self._limits == _limits()
            and self._directory == _directory()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surroundings) and (
            (self._environment, self._directory, self._lists, self._limits)
            == (other._environment, other._directory, other._lists, other._limits)
        )

    __hash__ = None  # type: ignore[assignment]


# pytest sets it anew for each step of a test.
_NOISE = ("PYTEST_CURRENT_TEST", b"PYTEST_CURRENT_TEST")


def _are_same(before: dict[Any, Any], now: dict[Any, Any]) -> bool:
    return before == now or all(
        before.get(name) == now.get(name)
        for name in before.keys() | now.keys()
        if name not in _NOISE
    )


def _environment() -> dict[Any, Any]:
    # As bytes, without making strings of them for every look.
    data: dict[Any, Any] | None = getattr(os.environ, "_data", None)
    return dict(os.environ) if data is None else data


def _limits() -> tuple[int, int]:
    return sys.getrecursionlimit(), sys.get_int_max_str_digits()


def _directory() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None  # deleted
