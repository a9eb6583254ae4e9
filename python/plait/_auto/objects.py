"""What methods of objects do: their classes tell."""

from __future__ import annotations

import functools
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from plait._auto.attributes import Attributes, class_of, may_be_method
from plait._auto.classes import (
    all_methods,
    definition,
    function_of,
    subclasses,
    users_classes,
)
from plait._auto.functions import held
from plait._auto.summary import Asked
from plait._auto.tables import (
    ADOPTING,
    ALIASING,
    CHANGING_ARGUMENT,
    MUTATORS,
    is_generator_state,
    is_harmless,
)
from plait._auto.values import (
    ITEMS,
    NOTHING,
    Code,
    Free,
    Fresh,
    Known,
    Local,
    Method,
    Param,
    Root,
    Super,
    Value,
    further,
    name_of,
    result_of,
)

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["Objects"]


class Objects(Attributes):
    """Finds what attributes and methods do; part of a `Program`."""

    # -- methods ------------------------------------------------------------

    def call(
        self,
        reader: Reader,
        method: Method,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        how: str = "call",
    ) -> tuple[Value, bool]:
        """Take note of the call of a method; tell what it may return, and whether it was read."""
        found, read = NOTHING, bool(method.receiver)
        given = tuple(arguments), tuple(keywords.items()), rest
        # What an object has under the name of a method may be that method: `x.f = x.f or g`.
        with self._program.callees.once("method", id(reader), method, given, how) as is_first:
            for root in method.receiver if is_first else ():
                value, was_read = self._call_one(
                    reader, root, method, arguments, keywords, rest, how
                )
                found |= value
                read = read and was_read
        return found, read

    def _call_one(
        self,
        reader: Reader,
        root: Root,
        method: Method,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        how: str,
    ) -> tuple[Value, bool]:
        name, one = method.name, frozenset({root})
        given = NOTHING.union(rest, *arguments, *keywords.values())
        found: Value = NOTHING
        if type(root) is Super:
            return self._call_further(reader, root, name, arguments, keywords, rest), True
        if type(root) is Local or (type(root) is Fresh and isinstance(root.kind, CodeType)):
            body = root.body if isinstance(root, Local) else root.kind
            values = self._local(body, name)
            if type(root) is Fresh:
                values |= reader.summary.contents.get(root, {}).get(name, NOTHING)
            for code in values:
                found |= self._call_local(reader, code, root, arguments, keywords, rest)
            if not values and type(root) is Fresh:
                # A method of a class of a library: it may call any of its own.
                everything = NOTHING.union(*self._program.making.names_of(body).values())
                self._program.callees.call_back(reader, everything, given | one)
                reader.put(root, given)
            return found, bool(values)
        defined = False
        if type(root) is Known or type(root) is Fresh:
            for cls in self.kinds_of(root):
                hook = definition(cls, name)
                if hook is None:
                    continue
                if cls is class_of(root):
                    defined = True
                value = self._run_raw(reader, hook[1], root, cls, arguments, keywords, rest)
                if value is None:
                    # A library's method, which may call any of the user's.
                    defined = False
                    for function in all_methods(cls):
                        self._run(reader, function, [one], given)
                else:
                    found |= value
            if not defined:
                found |= self._call_undefined(reader, root, name, arguments, keywords, rest, how)
        elif type(root) is Param or type(root) is Free:
            reader.ask(Asked(root, name, how), arguments, keywords, rest)
            if name not in ALIASING:
                found |= {further(root, result_of(name))}
        if defined:
            return found, True
        if type(root) is Fresh and not may_be_method(root, name):
            return found, False
        if type(root) is Known and is_generator_state(root.obj):
            reader.write(one, f"draws random numbers by `{root.path}.{name}`")
        place = CHANGING_ARGUMENT.get(name)
        if place is not None and place < len(arguments):
            reader.write(arguments[place], f"calls `{name}()` on an argument")
        if type(root) is Fresh:
            # Of an object of a library's nobody knows what its methods keep.
            kept = given if name in ADOPTING else frozenset(filter(_is_data, given))
            reader.put(root, kept)
        elif name in MUTATORS and not (type(root) is Known and is_harmless(root.obj)):
            stored = given if name in ADOPTING else NOTHING
            text = f"calls `{name_of(root)}.{name}()`"
            reader.write(one, text, stored, method=name)
        if name in ALIASING:
            found |= reader.inside(one)
            if name == "__enter__":
                found |= one
        return found, False

    def _call_undefined(
        self,
        reader: Reader,
        root: Known | Fresh,
        name: str,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        how: str,
    ) -> Value:
        """Take note of a call of what the class of an object does not have."""
        one: Value = frozenset({root})
        found: Value = NOTHING
        if type(root) is Fresh:
            inside = reader.summary.contents.get(root, {}).get(name, NOTHING)
        else:
            inside = self._held_by(root, name)
        if how == "hand":
            # It is data, most likely.
            self._program.callees.call_back(reader, inside)
        elif inside:
            found |= self._program.callees.call(reader, inside, arguments, keywords, rest)
        cls = class_of(root)
        if cls is not None:
            self._hook(reader, one, cls, "__getattribute__")
            if definition(cls, name) is None:
                self._hook(reader, one, cls, "__getattr__")
        if type(root) is Known and not inside and definition(type(root.obj), name) is None:
            # It is something in it that has this method: later, if not yet.
            kinds = self.kinds_of(root)
            if not any(definition(kind, name) for kind in kinds):
                for kind in self._classes_with(name):
                    raw = vars(kind)[name]
                    found |= (
                        self._run_raw(reader, raw, root, kind, arguments, keywords, rest) or NOTHING
                    )
        return found

    def _classes_with(self, name: str) -> list[type]:
        if self._classes is None:
            self._classes = users_classes()
        return [cls for cls in self._classes if name in vars(cls)]

    def _run_raw(
        self,
        reader: Reader,
        raw: Any,
        root: Root,
        cls: type,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> Value | None:
        """Take note of the call of what stands in a class; None: it is not the user's."""
        callees, one = self._program.callees, frozenset({root})
        path = f"{cls.__qualname__}.{getattr(raw, '__name__', '')}"

        def call(function: Any, *first: Value) -> Value:
            known = frozenset({Known(function, path)})
            return callees.call(reader, known, [*first, *arguments], keywords, rest)

        if isinstance(raw, FunctionType):
            return None if function_of(raw) is None else call(raw, one)
        if isinstance(raw, staticmethod):
            return call(raw.__func__)
        if isinstance(raw, classmethod):
            return call(raw.__func__, frozenset({Known(cls, cls.__qualname__)}))
        if isinstance(raw, property):
            getter = self._run(reader, raw.fget, [one])
            return callees.call(reader, getter, arguments, keywords, rest)
        if isinstance(raw, functools.partialmethod):
            before = [held(value, path) for value in raw.args]
            return call(raw.func, one, *before)
        if isinstance(raw, functools.singledispatchmethod):
            found = call(raw.func, one)
            for function in raw.dispatcher.registry.values():
                found |= call(function, one)
            return found
        if isinstance(raw, BuiltinFunctionType) or not callable(raw):
            return None
        if type(raw).__name__ in ("wrapper_descriptor", "method_descriptor"):
            return None
        getter_of = definition(type(raw), "__get__")
        if getter_of is not None and isinstance(getter_of[1], FunctionType):
            self._run(reader, getter_of[1], [frozenset({Known(raw, path)}), one])
        return call(raw, one)

    def _call_further(
        self,
        reader: Reader,
        root: Super,
        name: str,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> Value:
        """Take note of a call by `super()`: of all that may come after a class."""
        found: Value = NOTHING
        bases: dict[type, None] = {}
        for after in root.after:
            if type(after) is Known and isinstance(after.obj, type):
                for cls in subclasses(after.obj):
                    mro = cls.__mro__
                    bases.update(dict.fromkeys(mro[mro.index(after.obj) + 1 :]))
        seen = False
        for base in bases:
            raw = vars(base).get(name)
            if raw is None:
                continue
            for receiver in root.receiver:
                value = self._run_raw(reader, raw, receiver, base, arguments, keywords, rest)
                seen = seen or value is not None
                found |= value or NOTHING
        if not bases:
            # In a class that is made in the code: all that there is of that name.
            for receiver in root.receiver:
                if type(receiver) is Param or type(receiver) is Free:
                    reader.ask(Asked(receiver, name, "call"), arguments, keywords, rest)
        if not seen and name not in ("__init__", "__init_subclass__", "__new__"):
            given = NOTHING.union(rest, *arguments, *keywords.values())
            if name in MUTATORS:
                step = ITEMS
                reader.write(root.receiver, f"calls `super().{name}()`", given, step)
        if name == "__new__":
            return found | reader.fresh()
        return found | (reader.inside(root.receiver) if name in ALIASING else NOTHING)

    # -- classes that the code makes ----------------------------------------

    def _call_local(
        self,
        reader: Reader,
        code: Root,
        root: Root,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> Value:
        callees, one = self._program.callees, frozenset({root})
        if type(code) is Code and type(root) is Fresh:
            return callees.call(reader, frozenset({code}), [one, *arguments], keywords, rest)
        if type(code) is Known and isinstance(code.obj, FunctionType):
            first = [one] if type(root) is Fresh else []
            return callees.call(reader, frozenset({code}), [*first, *arguments], keywords, rest)
        # A static method, a property, or something decorated.
        given = NOTHING.union(rest, *arguments, *keywords.values())
        return callees.call(reader, frozenset({code}), [], {}, given | one)


def _is_data(root: Root) -> bool:
    return type(root) is not Code and not (type(root) is Known and callable(root.obj))
