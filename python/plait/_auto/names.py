"""What names lead to: globals, the variables of closures, imports, attributes of what is there."""

from __future__ import annotations

import builtins
import enum
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from plait._auto.classes import definition, function_of, is_users_class, is_users_module
from plait._auto.fixed import is_fixed, is_plain
from plait._auto.functions import CACHED, MISSING, is_users
from plait._auto.reading import Reader
from plait._auto.summary import Site
from plait._auto.tables import is_place_bound, is_user_code
from plait._auto.values import NOTHING, Free, Known, Method, Value
from plait._pickling.placing import module_of_globals
from plait._task import TaskFunction

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Names"]


class Names:
    """Finds what names lead to; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program
        # What is made anew each time it is asked for: by its owner and name.
        self._made: dict[tuple[int, str], Known] = {}
        # Held, so that numbers stay theirs.
        self._held: list[object] = []

    def load_global(self, reader: Reader, name: str) -> Value:
        """Tell what a global is."""
        namespace = reader.namespace
        value = namespace.get(name, MISSING)
        self._program.notes.depends[id(namespace), name] = namespace, name, value
        if value is MISSING:
            found = namespace.get("__builtins__", builtins)
            names = found if isinstance(found, dict) else vars(found)
            value = names.get(name, MISSING)
            return NOTHING if value is MISSING else frozenset({Known(value, name)})
        module = module_of_globals(namespace)
        if module is None and not isinstance(value, ModuleType | BuiltinFunctionType | type):
            # Of names of no module nobody else is told when they are bound anew.
            self._program.notes.reads["", name] = value
        return self._known_value(reader, value, name, (module, name))

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
        self._program.notes.depends[id(sys.modules), wanted] = sys.modules, wanted, module
        return NOTHING if module is MISSING else frozenset({Known(module, wanted)})

    def attribute(self, reader: Reader, root: Known, name: str) -> Value | None:
        """Tell what an attribute of a module, class or function is; None of other objects."""
        owner, path = root.obj, f"{root.path}.{name}"
        if isinstance(owner, ModuleType):
            value = vars(owner).get(name, MISSING)
            self._program.notes.depends[id(vars(owner)), name] = vars(owner), name, value
            if value is MISSING:
                # A module may make up what it does not have.
                hook = vars(owner).get("__getattr__")
                found = NOTHING if hook is None else frozenset({Known(hook, path)})
                return self._program.callees.call(reader, found, [], {}) if found else NOTHING
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
                    known = frozenset({Known(function, path)})
                    return self._program.callees.call(reader, known, [root], {})
            return NOTHING
        cls, value = found
        getter = definition(type(value), "__get__") if is_users_class(type(value)) else None
        if getter is not None and function_of(getter[1]) is not None:
            before = [frozenset({Known(value, path)}), NOTHING, root]
            known = frozenset({Known(getter[1], path)})
            self._program.callees.call(reader, known, before, {})
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

    def _keep(self, owner: object, name: str, value: object, path: str) -> Known:
        """Return one and the same root for what is made anew each time it is asked for."""
        return self._made.setdefault((id(owner), name), Known(value, path))

    def _known_value(
        self, reader: Reader, value: Any, path: str, where: tuple[object, str] | None
    ) -> Value:
        bound = is_place_bound(value)
        if bound is not None:
            if bound == "thread":
                self._program.notes.ask_place(reader.place, "data of its thread", path)
            else:
                self._program.notes.ask_context(reader.place, path)
            return NOTHING
        if isinstance(value, type) and is_users(value.__module__, reader):
            self._program.notes.classes.add(value)
            self._program.objects.touch(reader, frozenset({Known(value, path)}), "known")
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
            self._program.notes.reads[where[0], where[1]] = value
        # Of a member of an enumeration the attributes can be set.
        if is_fixed(value) and not isinstance(value, enum.Enum):
            return NOTHING
        known = frozenset({Known(value, path)})
        if hasattr(type(value), "__next__"):
            reader.write(known, f"may take from the iterator `{path}`")
        self._program.objects.touch(reader, known, "known")
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
            self._program.notes.reads[module, name] = value
        if is_users and not is_users_module(module):
            site = Site(f"calls `{module}.{name}`, which was replaced", *reader.place)
            self._program.notes.contexts.setdefault((site.file, site.line), site)
        elif type(value).__module__ == "unittest.mock":
            root: Value = frozenset({Known(value, f"{module}.{name}")})
            reader.write(root, f"uses `{module}.{name}`, which notes its calls")
