"""Exceptions that pickle cannot carry, made anew as objects of their class.

Most of them fail because pickle calls the class with `args`, which its `__init__` takes no such
number of; others because something that they hold cannot be pickled. A stand-in is an object of the
same class that no `__init__` has seen, with the same `args`, attributes and text; in the place of
what cannot be pickled there is something that only looks like it.
"""

import pickle
from types import MemberDescriptorType
from typing import Any

from plait._binding import native
from plait._pickling.pickler import dumps
from plait._pickling.sharing import ANSWER

__all__ = ["Described", "Recipe", "make", "reduced"]


class Described:
    """Stands for something that could not be pickled."""

    def __init__(self, text: str) -> None:
        """Look like it: `text` is its `repr`."""
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Recipe:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        """Call the first argument with the others at the other side."""
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        function, *args = self._call
        return function, tuple(args)


def reduced(error: BaseException) -> Recipe:
    """Take an exception apart, so that pickle can carry it whatever its class says."""
    base = _base(type(error))
    parts: Any = base.__reduce__(error)
    _, args, *rest = parts
    state = dict(rest[0]) if rest and isinstance(rest[0], dict) else {}
    state |= _slots(error)
    state.pop("__notes__", None)  # they travel by themselves
    return Recipe(
        make,
        type(error),
        base,
        tuple(_portable(arg) for arg in args),
        {name: _portable(value) for name, value in state.items()},
    )


def make(
    cls: type[BaseException],
    base: type[BaseException],
    args: tuple[Any, ...],
    state: dict[str, Any],
) -> BaseException:
    """Make an exception without a call of its class."""
    error = base.__new__(cls, *args)
    base.__init__(error, *args)
    for name, value in state.items():
        # Past properties and the like, as pickle goes.
        BaseException.__setattr__(error, name, value)
    return error


def _base(cls: type[BaseException]) -> type[BaseException]:
    """Find the class that Python itself brings."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _slots(error: BaseException) -> dict[str, Any]:
    return {
        name: getattr(error, name)
        for cls in type(error).__mro__
        for name, member in vars(cls).items()
        if cls.__module__ != "builtins"
        and type(member) is MemberDescriptorType
        and hasattr(error, name)
    }


def _portable(value: Any) -> Any:
    """Return the value, or what stands for it."""
    packer = native.Packer()
    try:
        dumps(value, packer, home=ANSWER)
        pickle.loads(packer.getvalue())
    except Exception:
        return Described(repr(value))
    return value
