"""Follows the calls between the user's functions, and knows what others do."""

from __future__ import annotations

import builtins
import logging
import operator
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from plait._auto.classes import definition, function_of, is_users_class, is_users_module
from plait._auto.fixed import is_fixed, is_plain
from plait._auto.functions import (
    CACHED,
    MISSING,
    behind,
    bind,
    held,
    is_in,
    is_users,
    may_be_called,
    unwrapped,
)
from plait._auto.libraries import Libraries
from plait._auto.making import Making
from plait._auto.objects import Objects
from plait._auto.reading import Reader
from plait._auto.summary import Asked, Site, Summary, TooLarge
from plait._auto.tables import (
    CHANGING_FIRST,
    COPYING,
    PASSING,
    is_generator_state,
    is_place_bound,
    is_user_code,
    passes_on,
)
from plait._auto.taking import Taking
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
    Value,
    is_sum,
)
from plait._pickling.placing import module_of_globals
from plait._task import TaskFunction

__all__ = ["Program"]

# More instructions than that are not read: it would take longer than the choice saves.
_MOST = 6_000
# Nor is more looked at that the variables may refer to; a call counts for some of that.
_MOST_WORK, _CALL = 200_000, 10


_BUILD_CLASS = builtins.__build_class__


class Program:
    """A function and all of the user's functions that it calls.

    To read 40 functions of 2,800 instructions took 0.12 s of CPU (CPython 3.11, a busy machine of
    two cores); what takes longest to see through, `enum._simple_enum`, is given up after 0.4 s.
    """

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
        self.under_way: set[tuple[object, ...]] = set()
        # What functions were given by code that is not read.
        self._called_back: dict[tuple[int, Root], Value] = {}
        # Attributes of objects that were looked up: what was found stands as long as they are so.
        self.attributes_of: dict[tuple[int, str], tuple[object, str, object]] = {}
        #: Where something is printed on standard output.
        self.prints: Site | None = None
        self.objects = Objects(self)
        self.making = Making(self)
        self.libraries = Libraries(self)
        self.taking = Taking(self)
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
                    return self.call(reader, frozenset({Known(function, path)}), [root], {})
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

    # -- what objects are and return -----------------------------------------

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
            if key in self.under_way:
                continue
            self.under_way.add(key)
            try:
                receiver = frozenset({root})
                found |= self.call(reader, frozenset({Method(method, receiver)}), [], {})
            finally:
                self.under_way.discard(key)
        return found

    def _keep(self, owner: object, name: str, value: object, path: str) -> Known:
        """Return one and the same root for what is made anew each time it is asked for."""
        return self._known.setdefault((id(owner), name), Known(value, path))

    def _known_value(
        self, reader: Reader, value: Any, path: str, where: tuple[object, str] | None
    ) -> Value:
        bound = is_place_bound(value)
        if bound is not None:
            what = "data of its thread" if bound == "thread" else "a context variable"
            self.note(self.places if bound == "thread" else self.contexts, reader, what, path)
            return NOTHING
        if isinstance(value, type) and is_users(value.__module__, reader):
            self.classes.add(value)
            self.objects.touch(reader, frozenset({Known(value, path)}), "known")
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
        self.objects.touch(reader, known, "known")
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
    def note(notes: dict[tuple[str, int], Site], reader: Reader, what: str, path: str) -> None:
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
            return self.taking.take_over(
                reader, summary, bound, None, is_own=is_in(code, reader)
            ), True
        if type(root) is Method and not root.receiver and arguments:
            # Of a `methodcaller`.
            root, arguments = Method(root.name, arguments[0]), arguments[1:]
        if type(root) is Method:
            return self.objects.call(reader, root, arguments, keywords, rest)
        if type(root) is Local:
            return self.making.make_local(reader, root, arguments, keywords, rest), True
        if type(root) is Param or type(root) is Free:
            if not named:
                reader.ask(Asked(root, "", "call"), arguments, keywords, rest)
        elif type(root) is Fresh and not named:
            given = NOTHING.union(rest, *arguments, *keywords.values())
            if root.kind is not None:
                method = Method("__call__", frozenset({root}))
                return self.objects.call(reader, method, arguments, keywords, rest)
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
                    self.objects.call(reader, root, [], {}, rest, "hand")
                else:
                    self.call(reader, frozenset({root}), [], {}, rest)

    def escape(self, reader: Reader, value: Value) -> None:
        """Take note that functions leave the code that makes them: whoever has them calls them."""
        for root in reader.everything(value):
            if type(root) is Code:
                self.call(reader, frozenset({root}), [], {})
            elif type(root) is Local:
                made = self.making.make_local(reader, root, [], {}, NOTHING)
                self.call_back(
                    reader, NOTHING.union(*self.making.names_of(root.body).values()), made
                )

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
            returned = self.taking.take_over(reader, self.of_function(obj), bound, obj)
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
            return self.making.build(reader, arguments, NOTHING.union(*keywords.values())), True
        for inner in behind(obj):
            self.call(reader, frozenset({Known(inner, known.path)}), arguments, keywords, rest)
        if obj is logging.getLogger:
            return frozenset({Known(logging.root, f"{known.path}()")}), False
        by_name = self.libraries.by_name(reader, obj, known.path, arguments)
        if by_name is not None:
            return by_name, False
        if isinstance(obj, operator.itemgetter | operator.attrgetter):
            return reader.inside(given), False
        if isinstance(obj, operator.methodcaller) or obj is operator.methodcaller:
            return self.libraries.by_caller(reader, obj, arguments, keywords, rest)
        self.libraries.look_at(reader, obj, known.path, arguments, keywords)
        if isinstance(obj, type):
            return self.making.make(reader, obj, arguments, keywords, rest, given)
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
            return self.objects.call(reader, method, arguments, keywords, rest)
        return reader.fresh(), False
