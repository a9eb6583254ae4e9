"""Follows the calls between the user's functions, and knows what others do."""

from __future__ import annotations

import builtins
import functools
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from plait._auto.fixed import is_fixed
from plait._auto.reading import Reader, Summary, Write, parameters
from plait._auto.tables import (
    ADOPTING,
    ALIASING,
    CHANGING_FIRST,
    COPYING,
    MUTATORS,
    PASSING,
    is_generator_state,
    is_place_bound,
    is_user_code,
    place_question,
    shared_state,
)
from plait._auto.unread import about_to_read
from plait._auto.values import (
    NOTHING,
    Code,
    Free,
    Fresh,
    Known,
    Method,
    Param,
    Root,
    Value,
    name_of,
)
from plait._pickling.placing import module_of_globals
from plait._task import TaskFunction

__all__ = ["MISSING", "Program", "Site", "TooLarge", "keywords_of", "unwrapped"]

MISSING: Any = object()

# More instructions than that are not read: it would take longer than the choice saves.
_MOST = 6_000

_CACHED = type(functools.lru_cache(lambda: None))
_LOCK = type(sys.modules["_thread"].allocate_lock())


# What is made of these holds nothing.
_NUMBERS = frozenset({int, float, complex, bool, str, bytes, range, slice, object})


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
        self._given: set[tuple[int, Root]] = set()
        # Held, so that numbers stay theirs.
        self._held: list[object] = []
        self._known: dict[tuple[int, str], Known] = {}
        self._count = 0

    # -- functions ----------------------------------------------------------

    def count(self, instructions: int) -> None:
        """Take note of code that is read.

        Raises:
            TooLarge: it is too much.

        """
        self._count += instructions
        if self._count > _MOST:
            raise TooLarge

    def of_function(self, function: FunctionType) -> Summary:
        """Read a function."""
        return self._summary(function, function.__code__, function, None)

    def _summary(
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
        if module is None and not isinstance(value, ModuleType):
            # Of names of no module nobody else is told when they are bound anew.
            self.reads["", name] = value
        return self._known_value(reader, value, name, (module, name))

    def store_global(self, reader: Reader, name: str) -> None:
        """Note that a global is bound."""
        site = Site(f"binds the global `{name}`", reader.code.co_filename, reader.line)
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
        """Tell what an attribute of a known object is; None if that is not known."""
        owner, path = root.obj, f"{root.path}.{name}"
        if isinstance(owner, ModuleType):
            value = vars(owner).get(name, MISSING)
            if value is MISSING:
                return NOTHING
            self.depends[id(vars(owner)), name] = vars(owner), name, value
            return self._known_value(reader, value, path, (owner.__name__, name))
        if isinstance(owner, type):
            return self._of_class(reader, owner, name, path)
        if isinstance(owner, FunctionType):
            if name not in vars(owner):
                return NOTHING
            return frozenset({self._keep(owner, name, vars(owner)[name], path)})
        return None

    def _of_class(self, reader: Reader, owner: type, name: str, path: str) -> Value:
        for cls in owner.__mro__:
            value = vars(cls).get(name, MISSING)
            if value is MISSING:
                continue
            if isinstance(value, staticmethod):
                value = value.__func__
            elif isinstance(value, classmethod):
                return frozenset({self._keep(owner, name, MethodType(value.__func__, owner), path)})
            elif isinstance(value, FunctionType) or hasattr(type(value), "__get__"):
                return frozenset({Known(value, path)})
            where = (cls.__module__, f"{cls.__qualname__}.{name}")
            return self._known_value(reader, value, path, where)
        return NOTHING

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
        if isinstance(value, type) and _is_users(value.__module__, reader):
            self.classes.add(value)
        if isinstance(
            value, FunctionType | ModuleType | BuiltinFunctionType | type | TaskFunction | _CACHED
        ):
            return frozenset({Known(value, path)})
        if where is not None and isinstance(where[0], str) and _is_users(where[0], reader):
            self.reads[where[0], where[1]] = value
        if is_fixed(value):
            return NOTHING
        known = frozenset({Known(value, path)})
        if hasattr(type(value), "__next__"):
            reader.write(known, f"may take from the iterator `{path}`")
        return known

    @staticmethod
    def _note(notes: dict[tuple[str, int], Site], reader: Reader, what: str, path: str) -> None:
        site = Site(f"asks for {what}: `{path}`", reader.code.co_filename, reader.line)
        notes.setdefault((site.file, site.line), site)

    # -- calls --------------------------------------------------------------

    def enter(self, reader: Reader, value: Value) -> None:
        """Take note of a `with` statement."""
        for name in ("__enter__", "__exit__"):
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
        found: Value = NOTHING
        unread = not callee
        named = any(type(root) is Method for root in callee)
        for root in callee:
            if named and type(root) is Known and not callable(root.obj):
                # The object of the method, as far as code tells.
                continue
            if type(root) is Known:
                value, read = self._call_known(reader, root, arguments, keywords, rest)
            elif type(root) is Code:
                summary = self._summary(root.made_of, root.made_of, None, reader)
                bound = _bind(reader, root.made_of, arguments, keywords, rest)
                value, read = self._take_over(reader, summary, bound, None), True
            elif type(root) is Method:
                value, read = self._call_method(reader, root, arguments, keywords, rest)
            else:
                if type(root) is Param or type(root) is Free:
                    reader.summary.called.add(root)
                value, read = NOTHING, False
            found |= value
            unread = unread or not read
        if unread:
            self._call_back(reader, given)
        return found

    def _call_back(self, reader: Reader, given: Value) -> None:
        """Take note that code which is not read may call the functions that it is given."""
        functions = [
            root
            for root in given
            if type(root) is Code or (type(root) is Known and _users_function(root.obj) is not None)
        ]
        if not functions:
            return
        rest = reader.everything(given).difference(functions)
        for root in functions:
            self.call(reader, frozenset({root}), [], {}, rest)

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
            arguments = [*(_held(value, known.path) for value in before), *arguments]
            if is_generator_state(before[0]):
                reader.write(arguments[0], f"draws random numbers by `{known.path}`")
        if isinstance(obj, FunctionType) and is_user_code(obj.__code__):
            bound = _bind(reader, obj.__code__, arguments, keywords, rest, obj)
            returned = self._take_over(reader, self.of_function(obj), bound, obj)
            # What a cache gives out, it gives out again.
            return returned | {known} if type(known.obj) is _CACHED else returned, True
        given = NOTHING.union(rest, *arguments, *keywords.values())
        if not callable(obj):
            # Something in it is called, whatever that is.
            reader.write(frozenset({known}), f"calls what it finds in `{known.path}`")
            return NOTHING, False
        for inner in _behind(obj):
            self.call(reader, frozenset({Known(inner, known.path)}), arguments, keywords, rest)
        self._look_at(reader, obj, known.path, arguments)
        if isinstance(obj, type):
            return self._make(reader, obj, arguments, keywords, rest, given)
        if id(obj) in PASSING:
            return given | reader.inside(given), False
        if id(obj) in COPYING:
            return reader.fresh(reader.inside(given)), False
        if id(obj) in CHANGING_FIRST:
            first = arguments[0] if arguments else rest
            reader.write(first, f"calls `{known.path}` on an argument", given)
            return reader.inside(first), False
        own = getattr(type(obj), "__call__", None)  # noqa: B004 - what it is counts
        if isinstance(own, FunctionType) and is_user_code(own.__code__):
            arguments = [frozenset({known}), *arguments]
            bound = _bind(reader, own.__code__, arguments, keywords, rest, own)
            return self._take_over(reader, self.of_function(own), bound, own), True
        return reader.fresh(), False

    def _look_at(self, reader: Reader, obj: Any, path: str, arguments: list[Value]) -> None:
        """Take note of what a function is known to do whose code is not read."""
        owner = getattr(obj, "__self__", None)
        if place_question(obj):
            self._note(self.places, reader, "where it runs", path)
        elif shared_state(obj):
            reader.write(frozenset({Known(obj, path)}), f"calls `{path}`, which the process shares")
        elif is_generator_state(owner):
            reader.write(frozenset({Known(owner, path)}), f"draws random numbers by `{path}`")
        elif owner is not None and not isinstance(owner, ModuleType | type):
            name = getattr(obj, "__name__", "")
            if name in MUTATORS:
                stored = NOTHING.union(*arguments) if name in ADOPTING else NOTHING
                reader.write(frozenset({Known(owner, path)}), f"calls `{path}()`", stored)

    def _make(
        self,
        reader: Reader,
        cls: type,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        given: Value,
    ) -> tuple[Value, bool]:
        """Take note that an object of a class is made."""
        if id(cls) in PASSING:
            return given | reader.inside(given), False
        if id(cls) in COPYING:
            return reader.fresh(reader.inside(given)), False
        if cls in _NUMBERS:
            return NOTHING, False
        made = reader.fresh(given)
        read = False
        for name in ("__new__", "__init__"):
            own = getattr(cls, name, None)
            if isinstance(own, FunctionType) and is_user_code(own.__code__):
                first = made if name == "__init__" else frozenset({Known(cls, cls.__qualname__)})
                bound = _bind(reader, own.__code__, [first, *arguments], keywords, rest, own)
                self._take_over(reader, self.of_function(own), bound, own)
                read = True
        return made, read

    def _call_method(
        self,
        reader: Reader,
        method: Method,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> tuple[Value, bool]:
        name, given = method.name, NOTHING.union(rest, *arguments, *keywords.values())
        found, read = NOTHING, bool(method.receiver)
        for root in method.receiver:
            one: Value = frozenset({root})
            if type(root) is Known:
                own = getattr(type(root.obj), name, None)
                if isinstance(own, FunctionType) and is_user_code(own.__code__):
                    bound = _bind(reader, own.__code__, [one, *arguments], keywords, rest, own)
                    found |= self._take_over(reader, self.of_function(own), bound, own)
                    continue
                if is_generator_state(root.obj):
                    reader.write(one, f"draws random numbers by `{root.path}.{name}`")
            elif type(root) is Param or type(root) is Free:
                reader.summary.asked.add((root, name))
            read = False
            if type(root) is Fresh:
                # Of an object of the user's nobody knows what its methods keep.
                kept = given if name in ADOPTING else frozenset(filter(_is_data, given))
                reader.put(root, kept)
            elif name in MUTATORS and not (type(root) is Known and _is_harmless(root.obj)):
                called = name_of(root)
                stored = given if name in ADOPTING else NOTHING
                reader.write(one, f"calls `{called}.{name}()`", stored)
        if name in ALIASING:
            found |= reader.inside(method.receiver)
            if name == "__enter__":
                found |= method.receiver
        return found, read

    def _take_over(
        self,
        reader: Reader,
        summary: Summary,
        bound: dict[str, Value],
        function: FunctionType | None,
    ) -> Value:
        """Take note of what a call does whose code was read."""

        def here(value: Value) -> Value:
            found: set[Root] = set()
            for root in value:
                if type(root) is Param:
                    found |= bound.get(root.name, NOTHING)
                elif type(root) is Free:
                    if function is None:
                        found |= reader.variable(root.name)
                elif type(root) is Fresh:
                    found.add(reader.taken_over(root))
                elif type(root) is Method:
                    found.add(Method(root.name, here(root.receiver)))
                elif type(root) is not Code or function is None:
                    found.add(root)
            return frozenset(found)

        for fresh, contents in list(summary.contents.items()):
            reader.put(reader.taken_over(fresh), here(contents))
        for write in list(summary.writes.values()):
            self._take_over_write(reader, write, here, function)
        for asked, method in list(summary.asked):
            for root in here(frozenset({asked})):
                if type(root) is Param or type(root) is Free:
                    reader.summary.asked.add((root, method))
        for caller in list(summary.called):
            called, key = here(frozenset({caller})), (id(summary), caller)
            # A function that is given to itself is called once.
            if called and key not in self._given:
                everything = NOTHING.union(*(reader.everything(v) for v in bound.values()))
                self._given.add(key)
                try:
                    self.call(reader, called, [], {}, everything - called)
                finally:
                    self._given.discard(key)
        return here(summary.returns)

    @staticmethod
    def _take_over_write(
        reader: Reader, write: Write, here: Any, function: FunctionType | None
    ) -> None:
        root = write.root
        if type(root) is not Free:
            for target in here(frozenset({root})):
                reader.adopt(write, target, here(write.stored))
        elif function is not None:
            # A closure that is there keeps what it is told.
            reader.adopt(write, Known(function, root.name), NOTHING)
        elif write.text.startswith("binds "):
            reader.bind(root.name, here(write.stored))
        else:
            for target in reader.variable(root.name):
                reader.adopt(write, target, here(write.stored))


def unwrapped(obj: Any) -> tuple[Any, tuple[Any, ...]]:
    """Find the function behind a task, a cache, a partial or a method; and its first arguments."""
    before: tuple[Any, ...] = ()
    while True:
        if type(obj) is TaskFunction or type(obj) is _CACHED:
            obj = obj.__wrapped__
        elif isinstance(obj, functools.partial):
            before = (*obj.args, *before)
            obj = obj.func
        elif type(obj) is MethodType:
            before = (obj.__self__, *before)
            obj = obj.__func__
        else:
            return obj, before


def keywords_of(obj: Any) -> dict[str, Any]:
    """Find the keywords that partials around a function add to its call."""
    found: dict[str, Any] = {}
    while True:
        if isinstance(obj, functools.partial):
            found = {**obj.keywords, **found}
            obj = obj.func
        elif type(obj) is TaskFunction or type(obj) is _CACHED:
            obj = obj.__wrapped__
        elif type(obj) is MethodType:
            obj = obj.__func__
        else:
            return found


def _behind(obj: Any) -> list[FunctionType]:
    """List the user's functions that a decorator of a library calls: those that it tells of."""
    if not isinstance(obj, FunctionType):
        return []
    found = [getattr(obj, "__wrapped__", None)]
    registry: Any = getattr(obj, "registry", None)
    if hasattr(registry, "values"):
        found += registry.values()
    return [fn for fn in found if isinstance(fn, FunctionType) and is_user_code(fn.__code__)]


def _users_function(obj: Any) -> FunctionType | None:
    function, _ = unwrapped(obj)
    if isinstance(function, FunctionType) and is_user_code(function.__code__):
        return function
    return None


def _is_data(root: Root) -> bool:
    return type(root) is not Code and not (type(root) is Known and callable(root.obj))


def _is_harmless(obj: Any) -> bool:
    """Whether the methods of an object are made for any number of threads, and return nothing."""
    import logging

    return isinstance(obj, logging.Logger) or type(obj) is _LOCK


@functools.lru_cache(maxsize=1024)
def _is_users_module(name: str, file: str | None) -> bool:
    if file is None:
        return name not in sys.builtin_module_names
    code = compile("", file, "exec")
    return is_user_code(code)


def _is_users(module: str, reader: Reader) -> bool:
    """Whether what a module holds may change as the program runs: libraries are taken not to."""
    found = sys.modules.get(module)
    if found is None or vars(found) is reader.namespace:
        return True
    return _is_users_module(module, getattr(found, "__file__", None))


def _bind(
    reader: Reader,
    code: CodeType,
    arguments: list[Value],
    keywords: dict[str, Value],
    rest: Value,
    function: FunctionType | None = None,
) -> dict[str, Value]:
    """Tell what the parameters of code are in a call."""
    names = parameters(code)
    count = code.co_argcount
    bound = dict(zip(names[:count], arguments, strict=False))
    extra = NOTHING.union(*arguments[count:])
    keyword_names = names[: count + code.co_kwonlyargcount]
    for name, value in keywords.items():
        if name in keyword_names:
            bound[name] = value
        else:
            extra |= value
    for name in names[count + code.co_kwonlyargcount :]:
        bound[name] = reader.fresh(extra | rest, mark=2)
    for name in keyword_names:
        if name not in bound:
            bound[name] = rest | _default(function, code, name)
        elif rest:
            bound[name] |= rest
    return bound


def _default(function: FunctionType | None, code: CodeType, name: str) -> Value:
    """Tell what a parameter is that no argument is given for."""
    if function is None:
        return NOTHING
    value = (function.__kwdefaults__ or {}).get(name, MISSING)
    defaults = function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    if name in names:
        value = defaults[names.index(name)]
    return NOTHING if value is MISSING else _held(value, name)


def _held(value: Any, path: str) -> Value:
    """Tell what is known of an object that a function holds."""
    # Of classes and functions the attributes can be set.
    if is_fixed(value) and not isinstance(value, type | FunctionType):
        return NOTHING
    return frozenset({Known(value, path)})
