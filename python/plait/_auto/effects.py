"""What a function does beside returning a value, and whether that counts for given arguments."""

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from plait._auto.callees import MISSING, Program, TooLarge, unwrapped
from plait._auto.fixed import is_fixed
from plait._auto.reading import Summary, Write, parameters
from plait._auto.tables import MUTATORS, is_generator_state, is_user_code
from plait._auto.values import Known, Param, name_of
from plait._auto.writers import writer_of
from plait._pickling.placing import module_of_globals

__all__ = ["Analysis", "Effect", "analyse"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that makes it matter where a function is called.

    Attributes:
        text: What the function does, as a clause: "sets an item of `CACHE`".
        file: Where that is in its code; None where no code tells.
        line: The line there; 0 where no code tells.
        argument: The name of the argument that it is done to; None: it is something else.
        keeps: Where it keeps the calls: `"here"`, one after another where they are made; or
            `"process"`, in this process.
    """

    text: str
    file: str | None = None
    line: int = 0
    argument: str | None = None
    keeps: str = "here"

    def __str__(self) -> str:
        if self.file is None:
            return self.text
        return f"{self.text} ({os.path.basename(self.file)}:{self.line})"


class Analysis:
    """What was found in the code of a function, and of all that it calls."""

    def __init__(self, function: Any) -> None:
        """Read the code of what `unwrapped` has found."""
        self._names: tuple[str, ...] = ("args",)
        self._count = 0
        #: What counts for all arguments.
        self.always: tuple[Effect, ...] = ()
        #: What counts where the argument can be changed, by its name.
        self.on_arguments: dict[str, Effect] = {}
        #: Names of modules that data were found by: as (module, path).
        self.reads: frozenset[tuple[str, str]] = frozenset()
        #: Whether the code returns what it was given, or what others have as well.
        self.returns_shared = False
        # Methods that are called of arguments, by the names of these.
        self._asked: tuple[tuple[str, str], ...] = ()
        # What `_caller` has made stands for a function that has no code to be read.
        self._stands_for: str | None = None
        if isinstance(function, FunctionType) and is_user_code(function.__code__):
            code = function.__code__
            self._names = parameters(code)
            self._count = code.co_argcount
        else:
            self._stands_for = _name(function)
            function = _caller(function)
        # Nothing that is kept holds the function, nor what has it.
        self._depends: tuple[_Binding, ...] = ()
        self._classes: tuple[weakref.ref[type], ...] = ()
        program = Program()
        try:
            summary = program.of_function(function)
        except TooLarge:
            self.always = (_too_large(function),)
        except Exception as error:
            # Bytecode that the reader does not know: nothing is claimed of it.
            self.always = (_unreadable(function, error),)
        else:
            self._conclude(function, program, summary)
        self._defaults = _defaults(function)
        #: Whether a default that can be changed may be used: no argument tells of it.
        self.has_open_defaults = not all(map(is_fixed, self._defaults.values()))
        self._is_code = self._stands_for is None

    def _conclude(self, function: FunctionType, program: Program, summary: Summary) -> None:
        always: list[Effect] = []
        for write in sorted(summary.writes.values(), key=_place):
            if type(write.root) is Param:
                effect = self._effect(write.text, write.file, write.line, write.root.name)
                self.on_arguments.setdefault(write.root.name, effect)
            else:
                always.append(self._effect(write.text, write.file, write.line))
        always += [self._effect(*site) for site in program.places.values()]
        always += [self._effect(*site, keeps="process") for site in program.contexts.values()]
        always += _read_and_written(function, program)
        # What binds most comes first.
        always.sort(key=lambda effect: effect.keeps != "here")
        self.always = tuple(always)
        self.reads = frozenset(program.reads)
        self.returns_shared = any(
            type(root) is Param or type(root) is Known for root in summary.returns
        )
        self._classes = tuple(map(weakref.ref, program.classes))
        self._asked = tuple((name_of(root), method) for root, method in summary.asked)
        self._depends = tuple(_Binding(function, *found) for found in program.depends.values())

    def _effect(
        self, text: str, file: str, line: int, argument: str | None = None, keeps: str = "here"
    ) -> Effect:
        if self._stands_for is None or file != __file__:
            return Effect(text, file, line, argument, keeps)
        return Effect(text.replace("`fn", f"`{self._stands_for}"), None, 0, argument, keeps)

    def state(self, function: Any) -> list[Any]:
        """List what a call may change beside its arguments: what it reads, and what it holds."""
        found: list[Any] = []
        for module, path in sorted(self.reads):
            owner: Any = sys.modules.get(module) if module else None
            value: Any = function.__globals__ if owner is None else vars(owner)
            for name in path.split("."):
                namespace = value if isinstance(value, dict) else getattr(value, "__dict__", {})
                value = namespace.get(name)
            found.append(value)
        if self._is_code:
            found += self._defaults.values()
            found += held_by(function)
        for reference in self._classes:
            cls = reference()
            if cls is not None:
                found.append({name: value for name, value in vars(cls).items() if _is_data(value)})
        return found

    @property
    def binds_all(self) -> bool:
        """Whether calls with any arguments are to be made where they are."""
        return bool(self.always) and self.always[0].keeps == "here"

    @property
    def uses_context(self) -> bool:
        """Whether the code asks for a context variable."""
        return any(effect.keeps == "process" for effect in self.always)

    def holds(self, function: Any) -> bool:
        """Whether what the code of the function calls is still the same."""
        return all(binding.holds(function) for binding in self._depends)

    def effect_on(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Effect | None:
        """Tell what binds a call with such arguments the most; None: nothing."""
        if self.binds_all:
            return self.always[0]
        values = self._bound(args, kwargs)
        for name, effect in self.on_arguments.items():
            if any(not is_fixed(value) for value in values.get(name, ())):
                return effect
        if any(not is_fixed(value) for held in values.values() for value in held):
            for name, method in self._asked:
                for value in values.get(name, ()):
                    effect_of_method = _of_method(value, name, method)
                    if effect_of_method is not None:
                        return effect_of_method
        for value in (*args, *kwargs.values()):
            effect_of_callable = _of_callable(value)
            if effect_of_callable is not None:
                return effect_of_callable
        return self.always[0] if self.always else None

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Tell what each parameter may be in a call."""
        names, count = self._names, self._count
        bound: dict[str, list[Any]] = {}
        rest: list[Any] = list(args[count:])
        for name, value in zip(names[:count], args, strict=False):
            bound[name] = [value]
        for name, value in kwargs.items():
            if name in names:
                bound.setdefault(name, []).append(value)
            else:
                rest.append(value)
        for name in names:
            if name not in bound:
                bound[name] = rest if name not in self._defaults else [self._defaults[name]]
        return bound


@functools.lru_cache(maxsize=1)
def _caller_code() -> Any:
    def call(fn: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: fn(*args, **kwargs)

    return call


def _caller(fn: Any) -> FunctionType:
    """Make a function that calls another object, to be read in its place."""
    made: FunctionType = _caller_code()(fn)
    return made


def _name(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None)
    return name if isinstance(name, str) else type(fn).__qualname__


def _read_and_written(function: FunctionType, program: Program) -> list[Effect]:
    """Find globals that a function reads, and others in their modules change."""
    found = []
    for module_name, path in program.reads:
        module = sys.modules.get(module_name)
        namespace = function.__globals__ if module is None else vars(module)
        site = None if "." in path else writer_of(namespace, path)
        if site is not None:
            text = f"reads the global `{path}`, which {site.text}"
            found.append(Effect(text, site.file, site.line))
    return found


class _Binding:
    """What a global was bound to, without holding that."""

    __slots__ = ("_is_code", "_kind", "_module", "_name", "_value")

    def __init__(
        self, function: FunctionType, namespace: dict[str, Any], name: str, value: Any
    ) -> None:
        # The name of its module; or that it is the function's own namespace, or that of modules.
        self._module: str | None = module_of_globals(namespace) or ""
        if namespace is sys.modules:
            self._module = None
        elif namespace is function.__globals__:
            self._module = "."
        self._name = name
        self._kind = type(value)
        self._is_code = value is MISSING or callable(value) or isinstance(value, ModuleType)
        self._value: Any = None
        if self._is_code:
            try:
                self._value = weakref.ref(value)
            except TypeError:
                self._value = None

    def holds(self, function: Any) -> bool:
        """Whether it is bound to the same function still, or to data of the same kind."""
        if self._module is None:
            namespace: Any = sys.modules
        elif self._module == ".":
            namespace = getattr(function, "__globals__", {})
        else:
            module = sys.modules.get(self._module)
            if module is None:
                return True
            namespace = vars(module)
        found = namespace.get(self._name, MISSING)
        if self._is_code and self._value is not None:
            return self._value() is found
        return type(found) is self._kind


def held_by(function: Any, depth: int = 3) -> list[Any]:
    """List what the variables of a closure refer to, and those of the functions among that."""
    found: list[Any] = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        inner, before = unwrapped(value)
        found += before
        if isinstance(inner, FunctionType):
            if depth and is_user_code(inner.__code__):
                found += held_by(inner, depth - 1)
        elif not isinstance(inner, type):
            found.append(value)
    return found


def _is_data(value: Any) -> bool:
    return not callable(value) and not hasattr(type(value), "__get__") and not _is_slot(value)


def _is_slot(value: Any) -> bool:
    return isinstance(value, ModuleType) or type(value).__name__ == "getset_descriptor"


def _place(write: Write) -> tuple[str, int]:
    return write.file, write.line


def _defaults(function: FunctionType) -> dict[str, Any]:
    code, values = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
    return {**dict(zip(names, values, strict=True)), **(function.__kwdefaults__ or {})}


def _too_large(function: FunctionType) -> Effect:
    code = function.__code__
    text = "calls more code than is looked through; `parallel_safe=True` says that it is safe"
    return Effect(text, code.co_filename, code.co_firstlineno)


def _unreadable(function: FunctionType, error: Exception) -> Effect:
    code = function.__code__
    text = f"has bytecode that cannot be read here ({type(error).__name__}: {error})"
    return Effect(text, code.co_filename, code.co_firstlineno)


def _of_callable(value: Any) -> Effect | None:
    """Tell what a function does that is an argument, and may be called."""
    if not callable(value) or isinstance(value, type):
        return None
    function, before = unwrapped(value)
    if isinstance(function, FunctionType):
        if not is_user_code(function.__code__):
            return None
        analysis = analyse(function)
        if any(not is_fixed(held) for held in before):
            found = analysis.effect_on(before, {})
            if found is not None:
                return found
        return analysis.always[0] if analysis.always else None
    if isinstance(function, BuiltinFunctionType):
        owner = function.__self__
        if is_generator_state(owner):
            return Effect(f"is given `{function.__qualname__}`, which draws random numbers")
        if not isinstance(owner, ModuleType | type) and function.__name__ in MUTATORS:
            return Effect(f"is given `{function.__qualname__}`, which changes its object")
    return None


def _of_method(value: Any, name: str, method: str) -> Effect | None:
    """Tell what a method does that the code calls of an argument."""
    own = getattr(type(value), method, None)
    if not isinstance(own, FunctionType) or not is_user_code(own.__code__):
        return None
    analysis = analyse(own)
    first = parameters(own.__code__)[:1]
    found = analysis.on_arguments.get(first[0]) if first else None
    if found is not None:
        text = f"calls `{name}.{method}()`, which {found.text}"
        return Effect(text, found.file, found.line, name)
    return analysis.always[0] if analysis.always else None


# By code: what functions in arguments do is asked for each call.
_analyses: dict[int, tuple[FunctionType, Analysis]] = {}
_MOST = 512


def analyse(function: FunctionType) -> Analysis:
    """Read a function, or find what was read of it before."""
    known = _analyses.get(id(function))
    if known is not None and known[0] is function and known[1].holds(function):
        return known[1]
    analysis = Analysis(function)
    if len(_analyses) >= _MOST:
        _analyses.clear()
    _analyses[id(function)] = function, analysis
    return analysis
