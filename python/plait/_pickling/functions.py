"""Functions by value: taken apart here, built again in another process."""

from __future__ import annotations

import dis
import importlib
import sys
import types
import weakref
from typing import Any

__all__ = ["build", "fill", "global_names", "home", "take_apart"]

# A name that is only set counts too: its first value must be in place before
# an initializer sets it, not arrive after.
_OPERATIONS = frozenset({"DELETE_GLOBAL", "LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL"})
_names_of: weakref.WeakKeyDictionary[types.CodeType, frozenset[str]] = weakref.WeakKeyDictionary()


def global_names(code: types.CodeType) -> frozenset[str]:
    """Return the names that `code` and the code nested in it may look up or set globally."""
    known = _names_of.get(code)
    if known is None:
        names = {
            instruction.argval
            for instruction in dis.get_instructions(code)
            if instruction.opname in _OPERATIONS
        }
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= global_names(constant)
        known = _names_of[code] = frozenset(names)
    return known


def home(function: types.FunctionType) -> str | None:
    """Return the name of the module whose globals are the function's, if one can be imported.

    `__main__` counts: it is there in every worker.
    """
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or vars(module) is not function.__globals__:
        return None
    if name == "__main__" or getattr(module, "__spec__", None) is not None:
        return name
    return None


def take_apart(function: types.FunctionType) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of `build` and of `fill` that make the function again."""
    state: dict[str, Any] = {
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__dict__": function.__dict__,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__name__": function.__name__,
        "__qualname__": function.__qualname__,
    }
    if sys.version_info >= (3, 14):
        # Annotations are computed when they are asked for; asking now could
        # fail on a name that only type checkers know.
        state["__annotate__"] = function.__annotate__
    else:
        state["__annotations__"] = function.__annotations__
    if sys.version_info >= (3, 12):
        state["__type_params__"] = function.__type_params__
    cells: list[tuple[Any, ...]] = []
    for cell in function.__closure__ or ():
        try:
            cells.append((cell.cell_contents,))
        except ValueError:  # not assigned yet
            cells.append(())
    return (home(function), function.__code__, len(cells)), {"state": state, "cells": cells}


def build(home: str, code: types.CodeType, cells: int) -> types.FunctionType:
    """Make a function with the globals of module `home`, its cells still empty.

    Two steps, because a function can hold itself: in a cell, in an attribute.
    """
    namespace = vars(importlib.import_module(home))
    return types.FunctionType(
        code, namespace, closure=tuple(types.CellType() for _ in range(cells))
    )


def fill(function: types.FunctionType, parts: dict[str, Any]) -> None:
    """Give a function made by `build` everything but its code."""
    for name, value in parts["state"].items():
        if name == "__dict__":
            function.__dict__.update(value)
        else:
            setattr(function, name, value)
    for cell, contents in zip(function.__closure__ or (), parts["cells"], strict=True):
        if contents:
            (cell.cell_contents,) = contents
