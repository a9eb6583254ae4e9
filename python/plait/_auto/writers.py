"""Who else in a module changes one of its globals."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from plait._auto.fixed import is_fixed
from plait._auto.functions import MISSING, unwrapped
from plait._auto.program import Program
from plait._auto.summary import Site, TooLarge, Write
from plait._auto.values import CLASS, Known, Param

__all__ = ["writer_of", "writer_of_class"]

_BINDING = ("STORE_GLOBAL", "DELETE_GLOBAL")


def writer_of(namespace: dict[str, Any], name: str) -> Site | None:
    """Find code of a module that binds one of its globals anew, or changes what it is bound to."""
    value = namespace.get(name, MISSING)
    for function in _functions(namespace):
        for code in _parts(function.__code__):
            if name not in code.co_names:
                continue
            for instruction in dis.get_instructions(code):
                if instruction.opname in _BINDING and instruction.argval == name:
                    return _site(function, f"`{function.__qualname__}` binds", instruction)
        if value is not MISSING and not is_fixed(value) and name in _all_names(function.__code__):
            site = _changes(function, value)
            if site is not None:
                return site
    return None


def writer_of_class(namespace: dict[str, Any], path: str) -> Site | None:
    """Find code of a module that changes data of one of its classes; None: there is none."""
    cls: Any = None
    *owner, name = path.split(".")
    for part in owner:
        cls = (namespace if cls is None else vars(cls)).get(part)
        if not isinstance(cls, type):
            return None
    value = vars(cls).get(name, MISSING)
    for function in _functions(namespace):
        if name not in _all_names(function.__code__):
            continue
        writes = _writes(function)
        if isinstance(writes, Site):
            return writes
        for write in writes:
            root = write.root
            if type(root) is Known:
                sets = root.obj is cls and write.step == name
                changes = root.obj is value and not is_fixed(value)
            elif type(root) is Param:
                sets = write.step == name and (CLASS in root.path or root.name == "cls")
                changes = root.path[:1] == (name,) and not is_fixed(value)
            else:
                continue
            if sets or changes:
                return Site(f"`{function.__qualname__}` changes", write.file, write.line)
    return None


def _changes(function: FunctionType, value: object) -> Site | None:
    writes = _writes(function)
    if isinstance(writes, Site):
        return writes
    for write in writes:
        if type(write.root) is Known and write.root.obj is value:
            return Site(f"`{function.__qualname__}` changes", write.file, write.line)
    return None


def _writes(function: FunctionType) -> list[Write] | Site:
    """List what a function changes; or say where it is, if it is too much to be read."""
    try:
        return list(Program().of_function(function).writes.values())
    except (TooLarge, RecursionError):
        code = function.__code__
        return Site(f"`{function.__qualname__}` may change", code.co_filename, code.co_firstlineno)


def _site(function: FunctionType, text: str, instruction: dis.Instruction) -> Site:
    positions = instruction.positions
    line = function.__code__.co_firstlineno
    if positions is not None and positions.lineno is not None:
        line = positions.lineno
    return Site(text, function.__code__.co_filename, line)


def _functions(namespace: dict[str, Any]) -> Iterator[FunctionType]:
    """List the functions that a module has of its own, those of its classes included."""
    for value in list(namespace.values()):
        if isinstance(value, type) and value.__module__ == namespace.get("__name__"):
            found: list[Any] = list(vars(value).values())
        else:
            found = [value]
        for part in found:
            if isinstance(part, staticmethod | classmethod):
                part = part.__func__
            elif isinstance(part, property):
                part = part.fget
            function, _ = unwrapped(part)
            if isinstance(function, FunctionType) and function.__globals__ is namespace:
                yield function


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _all_names(code: CodeType) -> set[str]:
    return {name for part in _parts(code) for name in part.co_names}
