"""Which record belongs to a function: its own, or that of one of the same code."""

from __future__ import annotations

import os
import weakref
from collections import deque
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from plait._auto.fixed import is_fixed, is_plain
from plait._auto.functions import keywords_of, unwrapped
from plait._auto.record import Record, can_be_weak, same

__all__ = ["record_of"]

# By the identity of the function, and of its code: closures and lambdas are made anew.
_records: dict[int, tuple[Any, Record]] = {}
_by_code: dict[int, tuple[Any, list[tuple[tuple[Any, ...], Record]]]] = {}
# Those of functions that cannot be referred to weakly, the oldest first, and how many there may be.
_strong: deque[int] = deque()
_STRONG = 64
# So many closures of one code are told apart.
_CLOSURES = 16


def record_of(fn: Any) -> tuple[Record, tuple[Any, ...], dict[str, Any]]:
    """Find what is known of a function.

    Returns:
        The record, the arguments that `fn` puts before others (of a method its object), and the
        keywords that it adds.

    """
    function, before = unwrapped(fn)
    keywords = keywords_of(fn) if function is not fn else {}
    if not isinstance(function, FunctionType | BuiltinFunctionType | type):
        # An object that is called: it is its class that says how.
        own = _call_of(type(function))
        if isinstance(own, FunctionType):
            function, before = own, (function, *before)
    known = _records.get(id(function))
    if known is not None and known[0]() is function:
        return known[1], before, keywords
    record = _found_by_code(function)
    if record is None:
        record = Record(function)
        _remember_code(function, record)
    number = id(function)
    if not can_be_weak(function):
        # What a class in C has, `str.upper` say, is there for ever; of what else there may be a
        # few are remembered.
        _records[number] = partial(same, function), record
        _strong.append(number)
        if len(_strong) > _STRONG:
            _records.pop(_strong.popleft(), None)
    else:
        _records[number] = weakref.ref(function, partial(_drop, _records, number)), record
    return record, before, keywords


def _call_of(cls: Any) -> Any:
    return cls.__call__


def _found_by_code(function: Any) -> Record | None:
    if not isinstance(function, FunctionType):
        return None
    known = _by_code.get(id(function.__code__))
    if known is None or known[0]() is not function.__code__:
        return None
    held = _held(function)
    for other, record in list(known[1]):
        if _are_same(held, other):
            record.stand_for(function)
            return record
    return None


def _remember_code(function: Any, record: Record) -> None:
    if not isinstance(function, FunctionType):
        return
    code, held = function.__code__, _held(function)
    if held is None:
        return
    known = _by_code.get(id(code))
    if known is None or known[0]() is not code:
        number = id(code)
        # Bound now: at interpreter exit the globals go before the functions.
        reference: weakref.ref[CodeType] = weakref.ref(code, partial(_drop, _by_code, number))
        known = _by_code[number] = reference, []
    if len(known[1]) < _CLOSURES:
        known[1].append((tuple(map(_weakly, held)), record))


def _held(function: FunctionType) -> tuple[Any, ...] | None:
    """Tell what makes a function another than those of the same code; None: not to be told."""
    parts: list[Any] = [id(function.__globals__), *(function.__defaults__ or ())]
    parts += (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:
            return None
    return tuple(parts) if all(map(is_fixed, parts)) else None


def _weakly(value: Any) -> Any:
    """Hold functions and classes by weak references: a closure may lead to itself."""
    return weakref.ref(value) if isinstance(value, FunctionType | type) else value


def _are_same(first: tuple[Any, ...] | None, second: tuple[Any, ...]) -> bool:
    return (
        first is not None
        and len(first) == len(second)
        and all(
            one is (other() if type(other) is weakref.ref else other)
            or (is_plain(one) and type(one) is type(other) and one == other)
            for one, other in zip(first, second, strict=True)
        )
    )


def _drop(known: dict[int, Any], number: int, gone: object) -> None:
    # Called by the collector at any point: the number may be another's by now.
    found = known.get(number)
    if found is not None and found[0] is gone:
        known.pop(number, None)


def _after_fork_in_child() -> None:
    for _, record in list(_records.values()):
        record.forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
