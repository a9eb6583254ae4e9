"""What objects do when an attribute is looked up, or a method called: their classes tell."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from plait._auto.classes import (
    all_methods,
    class_data,
    definition,
    function_of,
    implicit,
    is_users_class,
    kinds_in,
    subclasses,
    users_classes,
)
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
    CLASS,
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
    called,
    further,
    name_of,
    result_of,
)

if TYPE_CHECKING:
    from plait._auto.callees import Program
    from plait._auto.reading import Reader

__all__ = ["Objects", "may_be_method"]


class Objects:
    """Finds what objects do; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program
        self._kinds: dict[int, tuple[object, set[type]]] = {}
        self._classes: list[type] | None = None
        self._hooks: set[tuple[object, Value]] = set()
        self._touched: set[tuple[int, Root, str]] = set()

    # -- attributes ---------------------------------------------------------

    def attributes(self, reader: Reader, owner: Value, name: str, *, is_called: bool) -> Value:
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
            led = self._program.attribute(reader, root, name)
            if led is not None:
                return led
            return self._of_object(reader, root, type(root.obj), name, is_called=is_called)
        if type(root) is Fresh:
            if isinstance(root.kind, type):
                return self._of_object(reader, root, root.kind, name, is_called=is_called)
            if root.kind is not None:
                for code in self._local(root.kind, name):
                    if not is_called:
                        self._program.call(reader, frozenset({code}), [one], {})
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
        program, one = self._program, frozenset({root})
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
            own |= program.class_value(reader, base, name, value)
        return own | self._held_by(root, name)

    def _held_by(self, root: Root, name: str) -> Value:
        """Tell which function an object has under a name, beside those of its class."""
        if type(root) is not Known:
            return NOTHING
        held = _variables(root.obj)
        value = held.get(name)
        if value is None or not callable(value) or isinstance(value, type):
            return NOTHING
        self._program.depend_on_attribute(root.obj, name, value)
        return frozenset({Known(value, f"{root.path}.{name}")})

    def _hook(self, reader: Reader, one: Value, cls: type, name: str) -> None:
        found = definition(cls, name)
        function = None if found is None else function_of(found[1])
        key = function, one
        if function is None or key in self._hooks:
            return
        # A hook may look up what leads to itself.
        self._hooks.add(key)
        try:
            self._run(reader, function, [one])
        finally:
            self._hooks.discard(key)

    def set_attribute(self, reader: Reader, owner: Value, name: str, value: Value) -> None:
        """Take note that an attribute is set."""
        for root in owner:
            cls, one = _class_of(root), frozenset({root})
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
            cls = _class_of(root)
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
                self._program.call_back(reader, self._program.held(factory, ""))
                text = f"may put what is missing into `{name_of(root)}`"
                reader.write(frozenset({root}), text)
            if type(root) is Known and isinstance(root.obj, type):
                hook = definition(root.obj, "__class_getitem__")
                if hook is not None:
                    found |= self._run(reader, function_of(hook[1]), [frozenset({root}), key])
        return found | reader.inside(owner)

    # -- methods ------------------------------------------------------------

    def run(self, reader: Reader, owner: Value, name: str, arguments: Sequence[Value]) -> Value:
        """Take note that an instruction calls a method of objects whose classes are the user's."""
        found: Value = NOTHING
        for root in owner:
            one: Value = frozenset({root})
            if type(root) is Fresh and isinstance(root.kind, CodeType):
                for code in self._local(root.kind, name):
                    found |= self._program.call(reader, frozenset({code}), [one, *arguments], {})
                continue
            for cls in self.kinds_of(root):
                hook = definition(cls, name)
                if hook is not None:
                    found |= self._run(reader, function_of(hook[1]), [one, *arguments])
        return found

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
        for root in method.receiver:
            value, was_read = self._call_one(reader, root, method, arguments, keywords, rest, how)
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
                everything = NOTHING.union(*self._program.names_of(body).values())
                self._program.call_back(reader, everything, given | one)
                reader.put(root, given)
            return found, bool(values)
        defined = False
        if type(root) is Known or type(root) is Fresh:
            for cls in self.kinds_of(root):
                hook = definition(cls, name)
                if hook is None:
                    continue
                if cls is _class_of(root):
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
            held = reader.summary.contents.get(root, {}).get(name, NOTHING)
        else:
            held = self._held_by(root, name)
        if how == "hand":
            # It is data, most likely.
            self._program.call_back(reader, held)
        elif held:
            found |= self._program.call(reader, held, arguments, keywords, rest)
        cls = _class_of(root)
        if cls is not None:
            self._hook(reader, one, cls, "__getattribute__")
            if definition(cls, name) is None:
                self._hook(reader, one, cls, "__getattr__")
        if type(root) is Known and not held and definition(type(root.obj), name) is None:
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
        program, one = self._program, frozenset({root})
        path = f"{cls.__qualname__}.{getattr(raw, '__name__', '')}"

        def call(function: Any, *first: Value) -> Value:
            known = frozenset({Known(function, path)})
            return program.call(reader, known, [*first, *arguments], keywords, rest)

        if isinstance(raw, FunctionType):
            return None if function_of(raw) is None else call(raw, one)
        if isinstance(raw, staticmethod):
            return call(raw.__func__)
        if isinstance(raw, classmethod):
            return call(raw.__func__, frozenset({Known(cls, cls.__qualname__)}))
        if isinstance(raw, property):
            getter = self._run(reader, raw.fget, [one])
            return program.call(reader, getter, arguments, keywords, rest)
        if isinstance(raw, functools.partialmethod):
            before = [program.held(value, path) for value in raw.args]
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

    def _local(self, body: CodeType, name: str) -> Value:
        """Find what a class that the code makes has under a name, or one of its bases."""
        return self._program.local_definitions(body, name)

    def _call_local(
        self,
        reader: Reader,
        code: Root,
        root: Root,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> Value:
        program, one = self._program, frozenset({root})
        if type(code) is Code and type(root) is Fresh:
            return program.call(reader, frozenset({code}), [one, *arguments], keywords, rest)
        if type(code) is Known and isinstance(code.obj, FunctionType):
            first = [one] if type(root) is Fresh else []
            return program.call(reader, frozenset({code}), [*first, *arguments], keywords, rest)
        # A static method, a property, or something decorated.
        given = NOTHING.union(rest, *arguments, *keywords.values())
        return program.call(reader, frozenset({code}), [], {}, given | one)

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
                for name, codes in list(self._program.names_of(root.kind).items()):
                    if name.startswith("__") and name not in ("__init__", "__new__", "__enter__"):
                        self._program.call_back(reader, codes, frozenset({root}))
                continue
            kinds = self.kinds_of(root)
            key = id(reader), root, use
            if not kinds or key in self._touched:
                continue
            self._touched.add(key)
            for cls in kinds:
                self._program.compare_itself(cls)
                for function in implicit(cls, use):
                    self._run(reader, function, [frozenset({root})])

    def _run(
        self, reader: Reader, function: Any, arguments: list[Value], rest: Value = NOTHING
    ) -> Value:
        if function is None:
            return NOTHING
        path = getattr(function, "__qualname__", "")
        known = frozenset({Known(function, path)})
        return self._program.call(reader, known, arguments, {}, rest)


def may_be_method(root: Root, name: str) -> bool:
    """Whether an attribute may be a method of an object, and not data alone."""
    cls = _class_of(root)
    if cls is None:
        return True
    found = definition(cls, name)
    return found is not None and (callable(found[1]) or hasattr(type(found[1]), "__get__"))


def _class_of(root: Root) -> type | None:
    """Tell the class of an object, if it is one of the user's."""
    cls: Any = None
    if type(root) is Known:
        cls = type(root.obj)
    elif type(root) is Fresh:
        cls = root.kind
    return cls if isinstance(cls, type) and is_users_class(cls) else None


def _variables(obj: Any) -> Mapping[str, Any]:
    try:
        found = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_data(root: Root) -> bool:
    return type(root) is not Code and not (type(root) is Known and callable(root.obj))
