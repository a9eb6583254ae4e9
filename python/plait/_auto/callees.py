"""Follows the calls between the user's functions, and knows what others do."""

from __future__ import annotations

import builtins
import logging
import operator
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from plait._auto.classes import definition, function_of, is_users_class, is_users_module
from plait._auto.fixed import is_fixed, is_plain
from plait._auto.functions import (
    CACHED,
    MISSING,
    behind,
    bind,
    has_users_names,
    held,
    is_in,
    is_users,
    may_be_called,
    unwrapped,
)
from plait._auto.making import Making
from plait._auto.objects import Objects, may_be_method
from plait._auto.reading import Asked, Given, Reader, Summary, Write
from plait._auto.tables import (
    ADOPTING,
    CHANGING_FIRST,
    COPYING,
    MUTATORS,
    PASSING,
    changed_argument,
    is_generator_state,
    is_place_bound,
    is_user_code,
    passes_on,
    place_question,
    shared_state,
)
from plait._auto.unread import about_to_read
from plait._auto.values import (
    NOTHING,
    Code,
    Const,
    Free,
    Fresh,
    Known,
    Local,
    Method,
    Param,
    Root,
    Super,
    Value,
    is_sum,
    widened,
)
from plait._pickling.placing import module_of_globals
from plait._task import TaskFunction

__all__ = ["Program", "Site", "TooLarge"]

# More instructions than that are not read: it would take longer than the choice saves.
_MOST = 6_000
# Nor is more looked at that the variables may refer to; a call counts for some of that.
_MOST_WORK, _CALL = 200_000, 10


_BUILD_CLASS = builtins.__build_class__
# Functions that look for an attribute by its name.
_GETTING = frozenset({id(getattr), id(hasattr)})
_SETTING = frozenset({id(setattr), id(object.__setattr__), id(type.__setattr__)})
_DELETING = frozenset({id(delattr), id(object.__delattr__), id(type.__delattr__)})


class TooLarge(Exception):
    """There is more code than is read."""


class Site(NamedTuple):
    """Something that the code does, and where."""

    text: str
    file: str
    line: int


class Program:
    """A function and all of the user's functions that it calls."""

    def __init__(self) -> None:
        """Know nothing yet."""
        about_to_read()
        # Names of modules that data were found by, as (module, path), and the data.
        self.reads: dict[tuple[str, str], object] = {}
        # The globals that were looked up: what was found stands as long as they are the same.
        self.depends: dict[tuple[int, str], tuple[dict[str, Any], str, object]] = {}
        # What has another answer in another thread or process, and in another process alone.
        self.places: dict[tuple[str, int], Site] = {}
        self.contexts: dict[tuple[str, int], Site] = {}
        #: The user's classes among what is called.
        self.classes: set[type] = set()
        # Where a global is bound: by the identity of its namespace, and its name.
        self.stores: dict[tuple[int, str], Site] = {}
        self._summaries: dict[int, Summary] = {}
        self._open: set[int] = set()
        self._reentered: set[int] = set()
        # Calls of functions that are arguments, which are under way.
        self._given: set[tuple[object, ...]] = set()
        # What functions were given by code that is not read.
        self._called_back: dict[tuple[int, Root], Value] = {}
        # Attributes of objects that were looked up: what was found stands as long as they are so.
        self.attributes_of: dict[tuple[int, str], tuple[object, str, object]] = {}
        #: Where something is printed on standard output.
        self.prints: Site | None = None
        self._objects = Objects(self)
        self._making = Making(self)
        # Held, so that numbers stay theirs.
        self._held: list[object] = []
        self._known: dict[tuple[int, str], Known] = {}
        self._count = 0
        self._work = 0

    # -- functions ----------------------------------------------------------

    def count(self, instructions: int) -> None:
        """Take note of code that is read.

        Raises:
            TooLarge: it is too much.

        """
        self._count += instructions
        if self._count > _MOST:
            raise TooLarge

    def work(self, roots: int) -> None:
        """Take note of so many roots that are looked at.

        Raises:
            TooLarge: it takes too long.

        """
        self._work += roots
        if self._work > _MOST_WORK:
            raise TooLarge

    def of_function(self, function: FunctionType) -> Summary:
        """Read a function."""
        return self.summary(function, function.__code__, function, None)

    def summary(
        self,
        key: object,
        code: CodeType,
        function: FunctionType | None,
        outer: Reader | None,
    ) -> Summary:
        number = id(key)
        known = self._summaries.get(number)
        if known is not None:
            if number in self._open:
                self._reentered.add(number)
            return known
        self._held.append(key)
        for _ in range(2):
            reader = Reader(self, code, function, outer)
            self._held.append(reader)
            if number not in self._summaries:
                self._summaries[number] = reader.summary
            self._open.add(number)
            try:
                self._summaries[number] = reader.read()
            finally:
                self._open.discard(number)
            # A function that calls itself is read again, knowing what it returns.
            if number not in self._reentered:
                break
        return self._summaries[number]

    # -- names --------------------------------------------------------------

    def load_global(self, reader: Reader, name: str) -> Value:
        """Tell what a global is."""
        namespace = reader.namespace
        value = namespace.get(name, MISSING)
        self.depends[id(namespace), name] = namespace, name, value
        if value is MISSING:
            found = namespace.get("__builtins__", builtins)
            names = found if isinstance(found, dict) else vars(found)
            value = names.get(name, MISSING)
            return NOTHING if value is MISSING else frozenset({Known(value, name)})
        module = module_of_globals(namespace)
        if module is None and not isinstance(value, ModuleType | BuiltinFunctionType | type):
            # Of names of no module nobody else is told when they are bound anew.
            self.reads["", name] = value
        return self._known_value(reader, value, name, (module, name))

    def store_global(self, reader: Reader, name: str) -> None:
        """Note that a global is bound."""
        site = Site(f"binds the global `{name}`", *reader.place)
        self.stores.setdefault((id(reader.namespace), name), site)

    def free(self, reader: Reader, name: str) -> Value:
        """Tell what the variable of a closure refers to."""
        function = reader.function
        if function is None or name not in reader.code.co_freevars:
            return frozenset({Free(name)})
        cell = (function.__closure__ or ())[reader.code.co_freevars.index(name)]
        try:
            value = cell.cell_contents
        except ValueError:
            return NOTHING
        if isinstance(value, FunctionType | type | ModuleType | BuiltinFunctionType):
            return frozenset({Known(value, name)})
        self._held.append(value)
        return self._known_value(reader, value, name, None)

    def imported(self, reader: Reader, name: str, *, whole: bool) -> Value:
        """Tell what an import in the code leads to."""
        wanted = name if whole else name.partition(".")[0]
        if reader.import_level:
            package = str(reader.namespace.get("__package__") or "")
            for _ in range(reader.import_level - 1):
                package = package.rpartition(".")[0]
            wanted = f"{package}.{name}" if name else package
        module = sys.modules.get(wanted, MISSING)
        self.depends[id(sys.modules), wanted] = sys.modules, wanted, module
        return NOTHING if module is MISSING else frozenset({Known(module, wanted)})

    def attribute(self, reader: Reader, root: Known, name: str) -> Value | None:
        """Tell what an attribute of a module, class or function is; None of other objects."""
        owner, path = root.obj, f"{root.path}.{name}"
        if isinstance(owner, ModuleType):
            value = vars(owner).get(name, MISSING)
            self.depends[id(vars(owner)), name] = vars(owner), name, value
            if value is MISSING:
                # A module may make up what it does not have.
                hook = vars(owner).get("__getattr__")
                found = NOTHING if hook is None else frozenset({Known(hook, path)})
                return self.call(reader, found, [], {}) if found else NOTHING
            return self._known_value(reader, value, path, (owner.__name__, name))
        if isinstance(owner, type):
            return self._of_class(reader, owner, name, path)
        if isinstance(owner, FunctionType):
            if name not in vars(owner):
                return NOTHING
            return frozenset({self._keep(owner, name, vars(owner)[name], path)})
        return None

    def _of_class(self, reader: Reader, owner: type, name: str, path: str) -> Value:
        root: Value = frozenset({Known(owner, path.rpartition(".")[0])})
        found = definition(owner, name)
        if found is None:
            meta = type(owner)
            if is_users_class(meta):
                held = definition(meta, name) or definition(meta, "__getattr__")
                function = None if held is None else function_of(held[1])
                if function is not None:
                    if held is not None and held[1] is function:
                        return frozenset({Method(name, root)})
                    return self.call(reader, frozenset({Known(function, path)}), [*([root])], {})
            return NOTHING
        cls, value = found
        getter = definition(type(value), "__get__") if is_users_class(type(value)) else None
        if getter is not None and function_of(getter[1]) is not None:
            before = [frozenset({Known(value, path)}), NOTHING, root]
            self.call(reader, frozenset({Known(getter[1], path)}), before, {})
            return frozenset({Known(value, path)})
        if isinstance(value, staticmethod):
            value = value.__func__
        elif isinstance(value, classmethod):
            return frozenset({self._keep(owner, name, MethodType(value.__func__, owner), path)})
        elif isinstance(value, FunctionType) or hasattr(type(value), "__get__"):
            return frozenset({Known(value, path)})
        return self.class_value(reader, cls, name, value, path)

    def class_value(
        self, reader: Reader, cls: type, name: str, value: Any, path: str | None = None
    ) -> Value:
        """Tell what data are that stand in a class."""
        where = (cls.__module__, f"{cls.__qualname__}.{name}")
        return self._known_value(reader, value, path or where[1], where)

    def depend_on_attribute(self, obj: Any, name: str, value: object) -> None:
        """Take note that what was found in an object counts as long as it is there."""
        self.attributes_of[id(obj), name] = obj, name, value

    # -- what objects do: see `objects.py` -----------------------------------

    def attributes(
        self, reader: Reader, owner: Value, name: str, *, is_called: bool = False
    ) -> Value:
        """Tell what an attribute of an object may be."""
        return self._objects.attributes(reader, owner, name, is_called=is_called)

    def set_attribute(self, reader: Reader, owner: Value, name: str, value: Value) -> None:
        """Take note that an attribute is set."""
        self._objects.set_attribute(reader, owner, name, value)

    def delete_attribute(self, reader: Reader, owner: Value, name: str) -> None:
        """Take note that an attribute is deleted."""
        self._objects.delete_attribute(reader, owner, name)

    def item(self, reader: Reader, owner: Value, key: Value) -> Value:
        """Tell what an item of an object may be."""
        return self._objects.item(reader, owner, key)

    def run(self, reader: Reader, owner: Value, name: str, arguments: list[Value]) -> Value:
        """Take note that an instruction calls a method."""
        return self._objects.run(reader, owner, name, arguments)

    def class_of(self, root: Root) -> Value:
        """Tell the class of an object."""
        if type(root) is Known:
            cls = type(root.obj)
            return frozenset({Known(cls, f"type({root.path})")})
        if type(root) is Fresh and isinstance(root.kind, type):
            return frozenset({Known(root.kind, root.kind.__qualname__)})
        if type(root) is Fresh and root.kind is not None:
            return frozenset({Local(root.kind)})
        return NOTHING

    def returned(self, reader: Reader, value: Value, method: str) -> Value:
        """Tell what a method of an object returns."""
        found: Value = NOTHING
        for root in value:
            key = id(reader), root, method
            if key in self._given:
                continue
            self._given.add(key)
            try:
                receiver = frozenset({root})
                found |= self.call(reader, frozenset({Method(method, receiver)}), [], {})
            finally:
                self._given.discard(key)
        return found

    def names_of(self, body: CodeType) -> dict[str, Value]:
        """Tell what a class has in it that the code makes."""
        return self._making.names_of(body)

    def local_definitions(self, body: CodeType, name: str) -> Value:
        """Find what such a class, or one of its bases, has under a name."""
        return self._making.local_definitions(body, name)

    def touch(self, reader: Reader, value: Value, use: str) -> None:
        """Take note of what runs of objects where no code names it."""
        self._objects.touch(reader, value, use)

    def _keep(self, owner: object, name: str, value: object, path: str) -> Known:
        """Return one and the same root for what is made anew each time it is asked for."""
        return self._known.setdefault((id(owner), name), Known(value, path))

    def _known_value(
        self, reader: Reader, value: Any, path: str, where: tuple[object, str] | None
    ) -> Value:
        bound = is_place_bound(value)
        if bound is not None:
            what = "data of its thread" if bound == "thread" else "a context variable"
            self._note(self.places if bound == "thread" else self.contexts, reader, what, path)
            return NOTHING
        if isinstance(value, type) and is_users(value.__module__, reader):
            self.classes.add(value)
            self._objects.touch(reader, frozenset({Known(value, path)}), "known")
        if where is not None:
            self._compare(reader, value, where)
        if isinstance(
            value, FunctionType | ModuleType | BuiltinFunctionType | type | TaskFunction | CACHED
        ):
            return frozenset({Known(value, path)})
        if (
            where is not None
            and isinstance(where[0], str)
            # Of libraries what is no more than a number may have been set.
            and (is_users(where[0], reader) or (is_plain(value) and where[0] != "sys"))
        ):
            self.reads[where[0], where[1]] = value
        if is_fixed(value):
            return NOTHING
        known = frozenset({Known(value, path)})
        if hasattr(type(value), "__next__"):
            reader.write(known, f"may take from the iterator `{path}`")
        self._objects.touch(reader, known, "known")
        return known

    def _compare(self, reader: Reader, value: Any, where: tuple[object, str]) -> None:
        """Have a function or class compared that workers find by its name."""
        module, name = where
        if not isinstance(module, str):
            return
        is_users = (isinstance(value, FunctionType) and is_user_code(value.__code__)) or (
            isinstance(value, type) and is_users_class(value)
        )
        if is_users and "<locals>" not in name:
            self.reads[module, name] = value
        if is_users and not is_users_module(module):
            site = Site(f"calls `{module}.{name}`, which was replaced", *reader.place)
            self.contexts.setdefault((site.file, site.line), site)
        elif type(value).__module__ == "unittest.mock":
            root: Value = frozenset({Known(value, f"{module}.{name}")})
            reader.write(root, f"uses `{module}.{name}`, which notes its calls")

    def compare_itself(self, cls: type | FunctionType) -> None:
        """Have a class or function compared that workers find by its name."""
        module, name = cls.__module__, cls.__qualname__
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        if found is cls:
            self.reads[module, name] = cls

    @staticmethod
    def _note(notes: dict[tuple[str, int], Site], reader: Reader, what: str, path: str) -> None:
        site = Site(f"asks for {what}: `{path}`", *reader.place)
        notes.setdefault((site.file, site.line), site)

    # -- calls --------------------------------------------------------------

    def enter(self, reader: Reader, value: Value, *, is_async: bool = False) -> None:
        """Take note of a `with` statement."""
        for name in ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__"):
            self.call(reader, frozenset({Method(name, value)}), [], {})

    def call(
        self,
        reader: Reader,
        callee: Value,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value = NOTHING,
    ) -> Value:
        """Take note of a call.

        Args:
            reader: reads the code that calls.
            callee: what is called.
            arguments: by position.
            keywords: by name.
            rest: what else may be any of them.

        Returns:
            What the call may return.

        """
        given = NOTHING.union(rest, *arguments, *keywords.values())
        self.work(_CALL * (1 + len(callee)) + len(given))
        found: Value = NOTHING
        unread = not callee
        named = any(type(root) is Method for root in callee)
        for root in callee:
            if named and type(root) is Known and not callable(root.obj):
                # The object of the method, as far as code tells.
                continue
            value, read = self._call_one(reader, root, arguments, keywords, rest, named=named)
            found |= value
            unread = unread or not read
        if unread:
            self.call_back(reader, given)
            # What it returns may be what it was given, with something around.
            made = frozenset(root for root in given if type(root) in (Code, Method))
            if made:
                found |= reader.fresh(made, mark=3)
            found |= frozenset(root for root in given if type(root) is Local)
        return found

    def _call_one(
        self,
        reader: Reader,
        root: Root,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        *,
        named: bool,
    ) -> tuple[Value, bool]:
        """Take note of a call; tell what it may return, and whether all of it was read."""
        if type(root) is Known:
            return self._call_known(reader, root, arguments, keywords, rest)
        if type(root) is Code:
            code = root.made_of
            summary = self.summary(code, code, None, reader)
            bound = bind(reader, code, arguments, keywords, rest)
            return self.take_over(reader, summary, bound, None, is_own=is_in(code, reader)), True
        if type(root) is Method and not root.receiver and arguments:
            # Of a `methodcaller`.
            root, arguments = Method(root.name, arguments[0]), arguments[1:]
        if type(root) is Method:
            return self._objects.call(reader, root, arguments, keywords, rest)
        if type(root) is Local:
            return self._making.make_local(reader, root, arguments, keywords, rest), True
        if type(root) is Param or type(root) is Free:
            if not named:
                reader.ask(Asked(root, "", "call"), arguments, keywords, rest)
        elif type(root) is Fresh and not named:
            given = NOTHING.union(rest, *arguments, *keywords.values())
            if root.kind is not None:
                method = Method("__call__", frozenset({root}))
                return self._objects.call(reader, method, arguments, keywords, rest)
            # A `functools.partial`, say: it calls what was put into it.
            self.call_back(reader, reader.inside(frozenset({root})), given)
        return NOTHING, False

    def call_back(self, reader: Reader, given: Value, others: Value = NOTHING) -> None:
        """Take note that code which is not read may call the functions that it is given."""
        functions = [root for root in given if may_be_called(root)]
        for root in given:
            if type(root) is Param or type(root) is Free:
                reader.summary.handed.add(root)
        if not functions:
            return
        rest = reader.everything(given | others).difference(functions)
        rest = frozenset(root for root in rest if type(root) is not Const)
        for root in functions:
            key = id(reader), root
            known = self._called_back.get(key)
            if known is None or not rest <= known:
                self._called_back[key] = rest if known is None else rest | known
                if type(root) is Method:
                    self._objects.call(reader, root, [], {}, rest, "hand")
                else:
                    self.call(reader, frozenset({root}), [], {}, rest)

    def escape(self, reader: Reader, value: Value) -> None:
        """Take note that functions leave the code that makes them: whoever has them calls them."""
        for root in reader.everything(value):
            if type(root) is Code:
                self.call(reader, frozenset({root}), [], {})
            elif type(root) is Local:
                made = self._making.make_local(reader, root, [], {}, NOTHING)
                self.call_back(reader, NOTHING.union(*self.names_of(root.body).values()), made)

    def _call_known(
        self,
        reader: Reader,
        known: Known,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> tuple[Value, bool]:
        obj, before = unwrapped(known.obj)
        if before:
            arguments = [*(held(value, known.path) for value in before), *arguments]
            if is_generator_state(before[0]):
                reader.write(arguments[0], f"draws random numbers by `{known.path}`")
        if isinstance(obj, FunctionType) and is_user_code(obj.__code__):
            bound = bind(reader, obj.__code__, arguments, keywords, rest, obj)
            returned = self.take_over(reader, self.of_function(obj), bound, obj)
            # What a cache gives out, it gives out again.
            if type(known.obj) is CACHED and not all(map(is_sum, returned)):
                returned |= {known.part()}
            return returned, True
        given = NOTHING.union(rest, *arguments, *keywords.values())
        if not callable(obj):
            # Something in it is called, whatever that is.
            reader.write(frozenset({known}), f"calls what it finds in `{known.path}`")
            return NOTHING, False
        if obj is _BUILD_CLASS:
            return self._making.build(reader, arguments, NOTHING.union(*keywords.values())), True
        for inner in behind(obj):
            self.call(reader, frozenset({Known(inner, known.path)}), arguments, keywords, rest)
        if obj is logging.getLogger:
            return frozenset({Known(logging.root, f"{known.path}()")}), False
        by_name = self._by_name(reader, obj, known.path, arguments)
        if by_name is not None:
            return by_name, False
        if isinstance(obj, operator.itemgetter | operator.attrgetter):
            return reader.inside(given), False
        if isinstance(obj, operator.methodcaller) or obj is operator.methodcaller:
            return self._by_caller(reader, obj, arguments, keywords, rest)
        self._look_at(reader, obj, known.path, arguments, keywords)
        if isinstance(obj, type):
            return self._making.make(reader, obj, arguments, keywords, rest, given)
        if id(obj) in PASSING or passes_on(obj):
            return given | reader.inside(given), False
        if id(obj) in COPYING:
            return reader.fresh(reader.inside(given)), False
        if id(obj) in CHANGING_FIRST:
            first = arguments[0] if arguments else rest
            reader.write(first, f"calls `{known.path}` on an argument", given)
            return reader.inside(first), False
        if is_users_class(type(obj)):
            method = Method("__call__", frozenset({Known(obj, known.path)}))
            return self._objects.call(reader, method, arguments, keywords, rest)
        return reader.fresh(), False

    def _by_caller(
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
        held = [held(value, "methodcaller") for value in parts[1:]]
        if not isinstance(parts[0], str):
            return NOTHING, False
        return self._objects.call(reader, Method(parts[0], receiver), held, keywords, rest)

    def _by_name(self, reader: Reader, obj: Any, path: str, arguments: list[Value]) -> Value | None:
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
                found |= self.attributes(reader, owner, name)
            elif number in _SETTING:
                self.set_attribute(reader, owner, name, value)
            else:
                self.delete_attribute(reader, owner, name)
        return found

    def _look_at(
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
            elif self.prints is None:
                self.prints = Site("prints", *reader.place)
        if hasattr(obj, "__objclass__") and name in MUTATORS and arguments:
            # `list.append(log, x)`.
            stored = NOTHING.union(*arguments[1:]) if name in ADOPTING else NOTHING
            reader.write(arguments[0], f"calls `{path}` on an argument", stored)
        if place_question(obj):
            self._note(self.places, reader, "where it runs", path)
        elif shared_state(obj):
            reader.write(frozenset({Known(obj, path)}), f"calls `{path}`, which the process shares")
        elif is_generator_state(owner):
            reader.write(frozenset({Known(owner, path)}), f"draws random numbers by `{path}`")
        elif owner is not None and not isinstance(owner, ModuleType | type) and name in MUTATORS:
            stored = NOTHING.union(*arguments) if name in ADOPTING else NOTHING
            reader.write(frozenset({Known(owner, path)}), f"calls `{path}()`", stored)

    def take_over(
        self,
        reader: Reader,
        summary: Summary,
        bound: dict[str, Value],
        function: FunctionType | None,
        *,
        is_own: bool = True,
    ) -> Value:
        """Take note of what a call does whose code was read.

        Args:
            reader: reads the code that calls.
            summary: what the call does.
            bound: what the parameters are.
            function: what is called; None: it is made inside of the code that calls.
            is_own: whether the variables around it are those of the code that calls.

        Returns:
            What it may return.

        """

        def here(value: Value) -> Value:
            found: set[Root] = set()
            for root in value:
                if type(root) is Param:
                    found |= reader.along(bound.get(root.name, NOTHING), root.path)
                elif type(root) is Free:
                    if function is None and is_own:
                        found |= reader.along(reader.variable(root.name), root.path)
                elif type(root) is Fresh:
                    found.add(reader.taken_over(root))
                elif type(root) is Method:
                    found |= {
                        Method(root.name, frozenset({one}))
                        for one in here(root.receiver)
                        if may_be_method(one, root.name)
                    }
                elif type(root) is Super:
                    found.add(Super(here(root.after), here(root.receiver)))
                else:
                    found.add(root)
            return widened(frozenset(found))

        for fresh, parts in list(summary.contents.items()):
            root = reader.taken_over(fresh)
            reader.put(root, NOTHING)
            for step, contents in list(parts.items()):
                reader.put(root, here(contents), step)
        for write in list(summary.writes.values()):
            self._take_over_write(reader, write, here, function, is_own=is_own)
        for asked, given in list(summary.asked.items()):
            if type(asked.root) is Free and function is not None:
                continue
            targets = here(frozenset({asked.root}))
            for one in (frozenset({target}) for target in targets) if asked.name else (targets,):
                self._answer(reader, id(summary), asked, one, given, here)
        if summary.handed:
            self.call_back(reader, here(frozenset(summary.handed)))
        return here(summary.returns)

    def _answer(
        self, reader: Reader, number: int, asked: Asked, targets: Value, given: Given, here: Any
    ) -> None:
        """Take note of what code asks of its arguments, now that it is known what these are."""
        key = number, asked, targets
        # A function that is given to itself is called once.
        if key in self._given:
            return
        self._given.add(key)
        before, reader.elsewhere = reader.elsewhere, (given.file, given.line)
        try:
            arguments = [here(value) for value in given.arguments]
            keywords = {name: here(value) for name, value in given.keywords.items()}
            rest = here(given.rest)
            if not asked.name:
                if targets:
                    self.call(reader, targets, arguments, keywords, rest)
            elif asked.how != "get":
                method = Method(asked.name, targets)
                self._objects.call(reader, method, arguments, keywords, rest, asked.how)
            else:
                self.attributes(reader, targets, asked.name)
        finally:
            reader.elsewhere = before
            self._given.discard(key)

    def _take_over_write(
        self,
        reader: Reader,
        write: Write,
        here: Any,
        function: FunctionType | None,
        *,
        is_own: bool,
    ) -> None:
        root = write.root
        if type(root) is Free and function is not None:
            # A closure that is there keeps what it is told.
            reader.adopt(write, Known(function, root.name), NOTHING)
            return
        if type(root) is Free and write.text.startswith("binds "):
            if is_own:
                reader.bind(root.name, here(write.stored))
            return
        for target in here(frozenset({root})):
            if write.method and type(target) in (Known, Fresh):
                # The user's classes may have methods of that name that do something else.
                kinds = self._objects.kinds_of(target)
                if any(definition(cls, write.method) for cls in kinds) and (
                    type(target) is Known and is_users_class(type(target.obj))
                ):
                    continue
            reader.adopt(write, target, here(write.stored))

    @staticmethod
    def held(value: Any, path: str) -> Value:
        """Tell what is known of an object that a function holds."""
        return held(value, path)
