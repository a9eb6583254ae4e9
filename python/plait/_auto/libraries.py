"""Calls of functions whose code is not read: those in C, and of libraries."""

from __future__ import annotations

import operator
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait._auto.classes import is_users_class
from plait._auto.functions import has_users_names, held
from plait._auto.reading import Reader
from plait._auto.summary import Site
from plait._auto.tables import (
    ADOPTING,
    MUTATORS,
    changed_argument,
    is_generator_state,
    place_question,
    shared_state,
)
from plait._auto.values import NOTHING, Const, Known, Method, Value

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Libraries"]

# Functions that look for an attribute by its name.
_GETTING = frozenset({id(getattr), id(hasattr)})
_SETTING = frozenset({id(setattr), id(object.__setattr__), id(type.__setattr__)})
_DELETING = frozenset({id(delattr), id(object.__delattr__), id(type.__delattr__)})


class Libraries:
    """Finds what functions do that are known by name; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program

    def by_caller(
        self,
        reader: Reader,
        obj: Any,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> tuple[Value, bool]:
        """Take note of what calls a method by its name."""
        if obj is operator.methodcaller:
            names = arguments[0] if arguments else NOTHING
            made = {Method(root.text, NOTHING) for root in names if type(root) is Const}
            return frozenset(made), True
        parts = obj.__reduce__()[1]
        receiver = arguments[0] if arguments else rest
        before = [held(value, "methodcaller") for value in parts[1:]]
        if not isinstance(parts[0], str):
            return NOTHING, False
        return self._program.objects.call(
            reader, Method(parts[0], receiver), before, keywords, rest
        )

    def by_name(self, reader: Reader, obj: Any, path: str, arguments: list[Value]) -> Value | None:
        """Take note of a function that finds an attribute by its name; None: it is no such."""
        number = id(obj)
        if number not in _GETTING and number not in _SETTING and number not in _DELETING:
            return None
        if len(arguments) < 2:
            return None
        owner, value = arguments[0], NOTHING.union(*arguments[2:])
        names = [root.text for root in arguments[1] if type(root) is Const]
        if not names or len(names) != len(arguments[1]):
            if number not in _GETTING:
                reader.write(owner, f"calls `{path}` on an argument", value)
                return NOTHING
            for root in owner:
                if type(root) is Known and has_users_names(root.obj):
                    text = f"looks up names of `{root.path}` as it runs"
                    reader.write(frozenset({root}), text)
            return owner | reader.inside(owner) | value
        found = value if number in _GETTING else NOTHING
        for name in names:
            if number in _GETTING:
                found |= self._program.objects.attributes(reader, owner, name)
            elif number in _SETTING:
                self._program.objects.set_attribute(reader, owner, name, value)
            else:
                self._program.objects.delete_attribute(reader, owner, name)
        return found

    def imported(self, reader: Reader, arguments: list[Value]) -> Value:
        """Tell what an import by a function leads to."""
        names = [root.text for root in arguments[0] if type(root) is Const] if arguments else []
        if names:
            find = self._program.names.imported
            return NOTHING.union(*(find(reader, name, whole=True) for name in names))
        # Some module, by a name that the code does not tell.
        return frozenset({Known(sys.modules, "a module")})

    def look_at(
        self,
        reader: Reader,
        obj: Any,
        path: str,
        arguments: list[Value],
        keywords: dict[str, Value],
    ) -> None:
        """Take note of what a function is known to do whose code is not read."""
        if is_users_class(type(obj)):
            return
        owner = getattr(obj, "__self__", None)
        name = getattr(obj, "__name__", "")
        if "out" in keywords:
            reader.write(keywords["out"], f"has `{path}` write to an argument")
        place = changed_argument(obj)
        if place is not None and place < len(arguments):
            reader.write(arguments[place], f"calls `{path}` on an argument")
        if obj is print:
            if "file" in keywords:
                reader.write(keywords["file"], "prints to a file that others have")
            elif self._program.notes.prints is None:
                self._program.notes.prints = Site("prints", *reader.place)
        if hasattr(obj, "__objclass__") and name in MUTATORS and arguments:
            # `list.append(log, x)`.
            stored = NOTHING.union(*arguments[1:]) if name in ADOPTING else NOTHING
            reader.write(arguments[0], f"calls `{path}` on an argument", stored)
        if place_question(obj):
            self._program.notes.ask_place(reader.place, "where it runs", path)
        elif shared_state(obj):
            reader.write(frozenset({Known(obj, path)}), f"calls `{path}`, which the process shares")
        elif is_generator_state(owner):
            reader.write(frozenset({Known(owner, path)}), f"draws random numbers by `{path}`")
        elif owner is not None and not isinstance(owner, ModuleType | type) and name in MUTATORS:
            stored = NOTHING.union(*arguments) if name in ADOPTING else NOTHING
            reader.write(frozenset({Known(owner, path)}), f"calls `{path}()`", stored)
