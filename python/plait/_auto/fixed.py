"""Values that cannot change, nor anything in them."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import re
import uuid
from collections.abc import Iterable
from types import (
    BuiltinFunctionType,
    CodeType,
    EllipsisType,
    FunctionType,
    ModuleType,
    NoneType,
    NotImplementedType,
)
from typing import Any

__all__ = ["are_plain", "is_fixed", "is_plain"]

_PLAIN = frozenset({int, float, complex, bool, str, bytes, NoneType})
_FIXED = _PLAIN | {
    EllipsisType,
    NotImplementedType,
    range,
    type,
    CodeType,
    ModuleType,
    FunctionType,
    re.Pattern,
    decimal.Decimal,
    fractions.Fraction,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    uuid.UUID,
    pathlib.PurePosixPath,
    pathlib.PosixPath,
    pathlib.PureWindowsPath,
}
# So many elements of a tuple are looked at.
_MOST = 10_000


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a string or the like: one of them is as good as its copy."""
    return type(value) in _PLAIN


def are_plain(values: Iterable[Any]) -> bool:
    """Whether `is_plain` holds for all values."""
    return _PLAIN.issuperset(map(type, values))


def is_fixed(value: Any) -> bool:
    """Whether nobody can change the value; false where that takes long to see."""
    kind = type(value)
    if kind in _FIXED:
        return True
    if kind is tuple or kind is frozenset:
        return _are_fixed(value)
    return _is_fixed_kind(value)


def _are_fixed(values: Any) -> bool:
    todo, seen = [values], 0
    while todo:
        values = todo.pop()
        seen += len(values)
        if seen > _MOST:
            return False
        for value in values:
            kind = type(value)
            if kind in _FIXED:
                continue
            if kind is tuple or kind is frozenset:
                todo.append(value)
            elif not _is_fixed_kind(value):
                return False
    return True


def _is_fixed_kind(value: Any) -> bool:
    if isinstance(value, type | enum.Enum):
        return True
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    # Named tuples.
    return (
        isinstance(value, tuple)
        and type(value).__new__ is not tuple.__new__
        and (hasattr(value, "_fields") and _are_fixed(tuple(value)))
    )
