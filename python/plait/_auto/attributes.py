"""What objects do when an attribute is looked up, or set, or an instruction uses them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from plait._auto.classes import (
    class_data,
    definition,
    function_of,
    implicit,
    is_users_class,
    kinds_in,
    variables_of,
)
from plait._auto.functions import held
from plait._auto.summary import Asked
from plait._auto.values import (
    CLASS,
    NOTHING,
    Free,
    Fresh,
    Known,
    Local,
    Method,
    Param,
    Root,
    Super,
    Value,
    called,
    name_of,
)

if TYPE_CHECKING:
    from plait._auto.program import Program
    from plait._auto.reading import Reader

__all__ = ["Attributes", "class_of", "may_be_method"]


class Attributes:
    """Finds what attributes do; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program
        self._kinds: dict[int, tuple[object, set[type]]] = {}
        self._classes: list[type] | None = None
        self._touched: set[tuple[int, Root, str]] = set()

    # -- attributes ---------------------------------------------------------

    def attributes(
        self, reader: Reader, owner: Value, name: str, *, is_called: bool = False
    ) -> Value:
        """Tell what an attribute of an object may be, and take note of what looking it up does."""
        found: set[Root] = set()
        for root in owner:
            found |= self._attribute(reader, root, name, is_called=is_called)
        return frozenset(found)

    def _attribute(self, reader: Reader, root: Root, name: str, *, is_called: bool) -> Value:
        one: Value = frozenset({root})
        if name == CLASS:
            return reader.at(one, CLASS)
        if name == "__dict__":
            return one
        if type(root) is Known:
            led = self._program.names.attribute(reader, root, name)
            if led is not None:
                return led
            return self._of_object(reader, root, type(root.obj), name, is_called=is_called)
        if type(root) is Fresh:
            if isinstance(root.kind, type):
                return self._of_object(reader, root, root.kind, name, is_called=is_called)
            if root.kind is not None:
                for code in self._local(root.kind, name):
                    if not is_called:
                        self._program.callees.call(reader, frozenset({code}), [one], {})
        elif type(root) is Param or type(root) is Free:
            if not is_called:
                reader.ask(Asked(root, name, "get"))
        elif type(root) is Method:
            # Where it is looked up without being called, what it may be stands beside it.
            return NOTHING if name != "__self__" else root.receiver
        elif type(root) is Local:
            return frozenset({Method(name, one)}) | self._local(root.body, name)
        elif type(root) is not Super:
            return NOTHING
        # What is called later may be a method, too: `push = stack.append`.
        own: Value = frozenset({Method(name, one)})
        return own if is_called else own | reader.at(one, name)

    def _of_object(
        self, reader: Reader, root: Known | Fresh, cls: type, name: str, *, is_called: bool
    ) -> Value:
        """Tell what an attribute of an object of a known class is."""
        one = frozenset({root})
        own: Value = frozenset()
        if is_called or may_be_method(root, name):
            own |= {Method(name, one)}
        if not is_called:
            own |= reader.at(one, name)
        if not is_users_class(cls):
            return own
        self._hook(reader, one, cls, "__getattribute__")
        found = definition(cls, name)
        if found is None:
            self._hook(reader, one, cls, "__getattr__")
            return own | self._held_by(root, name)
        base, value = found
        if isinstance(value, property):
            return self._run(reader, value.fget, [one])
        if isinstance(value, functools.cached_property):
            # That it keeps what it has found is no effect: it would find it again.
            return self._run(reader, value.func, [one]) | reader.at(one, name)
        getter = definition(type(value), "__get__")
        if getter is not None and isinstance(getter[1], FunctionType):
            held: Value = frozenset({Known(value, f"{base.__qualname__}.{name}")})
            own |= self._run(reader, getter[1], [held, one, frozenset({Known(cls, cls.__name__)})])
        elif function_of(value) is None and class_data(cls, name):
            own |= self._program.names.class_value(reader, base, name, value)
        return own | self._held_by(root, name)

    def _held_by(self, root: Root, name: str) -> Value:
        """Tell which function an object has under a name, beside those of its class."""
        if type(root) is not Known:
            return NOTHING
        held = variables_of(root.obj)
        value = held.get(name)
        if value is None or not callable(value) or isinstance(value, type):
            return NOTHING
        self._program.notes.depend_on_attribute(root.obj, name, value)
        return frozenset({Known(value, f"{root.path}.{name}")})

    def _hook(self, reader: Reader, one: Value, cls: type, name: str) -> None:
        found = definition(cls, name)
        function = None if found is None else function_of(found[1])
        # A hook may look up what leads to itself.
        with self._program.callees.once("hook", function, one) as is_first:
            if is_first:
                self._run(reader, function, [one])

    def set_attribute(self, reader: Reader, owner: Value, name: str, value: Value) -> None:
        """Take note that an attribute is set."""
        for root in owner:
            cls, one = class_of(root), frozenset({root})
            if cls is None:
                continue
            for hook in ("__setattr__", name):
                found = definition(cls, hook)
                if found is None:
                    continue
                raw = found[1]
                setter = raw.fset if isinstance(raw, property) else None
                if hook == "__setattr__":
                    setter = function_of(raw)
                elif setter is None and (put := definition(type(raw), "__set__")) is not None:
                    setter = function_of(put[1])
                    if setter is not None:
                        held = frozenset({Known(raw, f"{cls.__qualname__}.{name}")})
                        self._run(reader, setter, [held, one, value])
                        continue
                if setter is not None:
                    args = [one, NOTHING, value] if hook == "__setattr__" else [one, value]
                    self._run(reader, setter, args)
        reader.write(owner, f"sets the attribute `{name}` of {called(owner)}", value, name)

    def delete_attribute(self, reader: Reader, owner: Value, name: str) -> None:
        """Take note that an attribute is deleted."""
        self.run(reader, owner, "__delattr__", [NOTHING])
        for root in owner:
            cls = class_of(root)
            found = None if cls is None else definition(cls, name)
            if found is not None and isinstance(found[1], property):
                self._run(reader, found[1].fdel, [frozenset({root})])
        reader.write(owner, f"deletes the attribute `{name}` of {called(owner)}")

    def item(self, reader: Reader, owner: Value, key: Value) -> Value:
        """Tell what an item of an object may be."""
        found = self.run(reader, owner, "__getitem__", [key])
        for root in owner:
            factory = None
            if type(root) is Known and isinstance(root.obj, defaultdict) and not root.is_part:
                factory = root.obj.default_factory
            if factory is not None:
                self._program.callees.call_back(reader, held(factory, ""))
                text = f"may put what is missing into `{name_of(root)}`"
                reader.write(frozenset({root}), text)
            if type(root) is Known and isinstance(root.obj, type):
                hook = definition(root.obj, "__class_getitem__")
                if hook is not None:
                    found |= self._run(reader, function_of(hook[1]), [frozenset({root}), key])
        return found | reader.inside(owner)

    def run(self, reader: Reader, owner: Value, name: str, arguments: Sequence[Value]) -> Value:
        """Take note that an instruction calls a method of objects whose classes are the user's."""
        found: Value = NOTHING
        for root in owner:
            one: Value = frozenset({root})
            if type(root) is Fresh and isinstance(root.kind, CodeType):
                for code in self._local(root.kind, name):
                    found |= self._program.callees.call(
                        reader, frozenset({code}), [one, *arguments], {}
                    )
                continue
            for cls in self.kinds_of(root):
                hook = definition(cls, name)
                if hook is not None:
                    found |= self._run(reader, function_of(hook[1]), [one, *arguments])
        return found

    def _local(self, body: CodeType, name: str) -> Value:
        """Find what a class that the code makes has under a name, or one of its bases."""
        return self._program.making.local_definitions(body, name)

    # -- what runs unasked --------------------------------------------------

    def kinds_of(self, root: Root) -> set[type]:
        """Find the user's classes of an object, and of what is in it."""
        if type(root) is Fresh:
            return {root.kind} if isinstance(root.kind, type) else set()
        if type(root) is not Known or isinstance(root.obj, type | ModuleType | FunctionType):
            if type(root) is Known and isinstance(root.obj, type):
                # A class is an object of its own class.
                meta = type(root.obj)
                return {meta} if is_users_class(meta) else set()
            return set()
        known = self._kinds.get(id(root.obj))
        if known is None:
            known = self._kinds[id(root.obj)] = root.obj, kinds_in(root.obj)[0]
        return known[1]

    def touch(self, reader: Reader, value: Value, use: str) -> None:
        """Take note of what methods do that run where no code names them."""
        for root in value:
            if type(root) is Fresh and isinstance(root.kind, CodeType):
                for name, codes in list(self._program.making.names_of(root.kind).items()):
                    if name.startswith("__") and name not in ("__init__", "__new__", "__enter__"):
                        self._program.callees.call_back(reader, codes, frozenset({root}))
                continue
            kinds = self.kinds_of(root)
            key = id(reader), root, use
            if not kinds or key in self._touched:
                continue
            self._touched.add(key)
            for cls in kinds:
                self._program.notes.compare(cls)
                for function in implicit(cls, use):
                    self._run(reader, function, [frozenset({root})])

    def _run(
        self, reader: Reader, function: Any, arguments: list[Value], rest: Value = NOTHING
    ) -> Value:
        if function is None:
            return NOTHING
        path = getattr(function, "__qualname__", "")
        known = frozenset({Known(function, path)})
        return self._program.callees.call(reader, known, arguments, {}, rest)


def may_be_method(root: Root, name: str) -> bool:
    """Whether an attribute may be a method of an object, and not data alone."""
    cls = class_of(root)
    if cls is None:
        return True
    found = definition(cls, name)
    return found is not None and (callable(found[1]) or hasattr(type(found[1]), "__get__"))


def class_of(root: Root) -> type | None:
    """Tell the class of an object, if it is one of the user's."""
    cls: Any = None
    if type(root) is Known:
        cls = type(root.obj)
    elif type(root) is Fresh:
        cls = root.kind
    return cls if isinstance(cls, type) and is_users_class(cls) else None
