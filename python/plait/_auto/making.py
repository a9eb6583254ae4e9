"""Classes that code makes, and objects that it makes of classes."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING

from plait._auto.classes import definition, function_of, is_users_class
from plait._auto.functions import keeps_arguments, known_function
from plait._auto.reading import Reader
from plait._auto.tables import COPYING, PASSING
from plait._auto.values import (
    CLASS,
    NOTHING,
    Code,
    Fresh,
    Known,
    Local,
    Param,
    Root,
    Super,
    Value,
)

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Making"]

# What is made of these holds nothing.
_NUMBERS = frozenset({int, float, complex, bool, str, bytes, range, slice})


class Making:
    """Finds what is made; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program
        # Classes that the code makes: what is in them, and their bases.
        self._locals: dict[int, tuple[Value, dict[str, Value]]] = {}

    # -- classes that the code makes ------------------------------------------

    def names_of(self, body: CodeType) -> dict[str, Value]:
        """Tell what a class has in it that the code makes."""
        return self._locals.get(id(body), (NOTHING, {}))[1]

    def local_definitions(self, body: CodeType, name: str) -> Value:
        """Find what such a class, or one of its bases, has under a name."""
        found, todo, seen = NOTHING, [body], {id(body)}
        while todo:
            bases, names = self._locals.get(id(todo.pop()), (NOTHING, {}))
            found |= names.get(name, NOTHING)
            for base in bases:
                if type(base) is Local and id(base.body) not in seen:
                    seen.add(id(base.body))
                    todo.append(base.body)
                elif type(base) is Known and isinstance(base.obj, type):
                    held = definition(base.obj, name)
                    function = None if held is None else function_of(held[1])
                    if function is not None:
                        found |= {Known(function, f"{base.path}.{name}")}
        return found

    def build(self, reader: Reader, arguments: list[Value], keywords: Value) -> Value:
        """Take note that a class is made."""
        made: set[Root] = set()
        bases = NOTHING.union(keywords, *arguments[2:])
        for root in arguments[0] if arguments else ():
            if type(root) is not Code:
                continue
            body = root.made_of
            local: Value = frozenset({Local(body)})
            made |= local
            summary = self._program.summary(body, body, None, reader)
            self._locals[id(body)] = bases, summary.names
            self._program.taking.take_over(reader, summary, {}, None)
            hooks = self.local_definitions(body, "__init_subclass__")
            for base in bases:
                if type(base) is Known and isinstance(base.obj, type):
                    meta = base.obj if issubclass(base.obj, type) else type(base.obj)
                    for name in ("__prepare__", "__new__", "__init__"):
                        held = definition(meta, name)
                        function = None if held is None else function_of(held[1])
                        if function is not None:
                            hooks |= {Known(function, f"{meta.__qualname__}.{name}")}
            for hook in hooks - summary.names.get("__init_subclass__", NOTHING):
                self._program.callees.call(reader, frozenset({hook}), [local], {})
        return frozenset(made)

    def make_local(
        self,
        reader: Reader,
        local: Local,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> Value:
        made = reader.fresh(kind=local.body)
        codes = self.local_definitions(local.body, "__init__")
        for code in codes:
            self._program.callees.call(
                reader, frozenset({code}), [made, *arguments], keywords, rest
            )
        for code in self.local_definitions(local.body, "__new__"):
            made |= self._program.callees.call(
                reader, frozenset({code}), [frozenset({local}), *arguments], keywords
            )
        if not codes:
            # A data class, or one of a library's.
            given = NOTHING.union(rest, *arguments, *keywords.values())
            for root in made:
                if type(root) is Fresh:
                    reader.put(root, given)
        self._program.objects.touch(reader, made, "made")
        return made

    def make(
        self,
        reader: Reader,
        cls: type,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        given: Value,
    ) -> tuple[Value, bool]:
        """Take note that an object of a class is made."""
        if cls is super:
            return self.super_of(reader, arguments), True
        if cls is type and len(arguments) == 1:
            return reader.at(arguments[0], CLASS), True
        if id(cls) in PASSING:
            return given | reader.inside(given), False
        if id(cls) in COPYING:
            return reader.fresh(reader.inside(given)), False
        if cls in _NUMBERS:
            return NOTHING, False
        itself: Value = frozenset({Known(cls, cls.__qualname__)})
        if not is_users_class(cls):
            return reader.fresh(given), False
        if is_users_class(type(cls)):
            method = definition(type(cls), "__call__")
            function = None if method is None else function_of(method[1])
            if function is not None:
                before = [itself, *arguments]
                other = self._program.callees.call(
                    reader, known_function(function), before, keywords, rest
                )
                itself |= other
        made, read = reader.fresh(kind=cls), False
        result: Value = made
        for name in ("__new__", "__init__"):
            found = definition(cls, name)
            own = None if found is None else function_of(found[1])
            if own is not None:
                first = result if name == "__init__" else frozenset({Known(cls, cls.__qualname__)})
                value = self._program.callees.call(
                    reader, known_function(own), [first, *arguments], keywords, rest
                )
                # It may give out one that was made before.
                result |= value if name == "__new__" else NOTHING
                read = True
        if not read or keeps_arguments(cls):
            for root in made:
                if type(root) is Fresh:
                    reader.put(root, given)
        self._program.objects.touch(reader, made, "made")
        return result | (itself - {Known(cls, "")}), read

    def super_of(self, reader: Reader, arguments: list[Value]) -> Value:
        """Tell what `super()` is."""
        if len(arguments) == 2:
            after, receiver = arguments
        else:
            after = reader.variable("__class__")
            names = reader.code.co_varnames[:1]
            receiver = frozenset(map(Param, names))
        return frozenset({Super(after, receiver)})
