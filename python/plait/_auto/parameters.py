"""The parameters of functions: their names, their defaults, and what they are in a call."""

from __future__ import annotations

from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from plait._auto.fixed import is_fixed

__all__ = ["Parameters", "defaults_of", "parameters"]

_VARARGS, _VARKEYWORDS = 0x04, 0x08


def parameters(code: CodeType) -> tuple[str, ...]:
    """List the names of the parameters of code, those that take the rest included."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & _VARARGS) + bool(code.co_flags & _VARKEYWORDS)
    return code.co_varnames[:count]


def defaults_of(function: FunctionType) -> dict[str, Any]:
    """Map the names of parameters to their defaults."""
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}


class Parameters:
    """The parameters of a function that is not held.

    Args:
        function: whose they are.

    """

    def __init__(self, function: FunctionType) -> None:
        """Take note of them."""
        self._names = parameters(function.__code__)
        self._count = function.__code__.co_argcount
        self.defaults = defaults_of(function)
        #: Whether one of the defaults can be changed.
        self.has_open_defaults = not all(map(is_fixed, self.defaults.values()))

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Tell what each may be in a call."""
        names, count = self._names, self._count
        found: dict[str, list[Any]] = {}
        rest: list[Any] = list(args[count:])
        for name, value in zip(names[:count], args, strict=False):
            found[name] = [value]
        for name, value in kwargs.items():
            if name in names:
                found.setdefault(name, []).append(value)
            else:
                rest.append(value)
        for name in names:
            if name not in found:
                found[name] = rest if name not in self.defaults else [self.defaults[name]]
        return found
