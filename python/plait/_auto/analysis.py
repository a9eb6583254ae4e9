"""The code of a function, and whether what it does counts for given arguments."""

from __future__ import annotations

import enum
import sys
import weakref
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from plait._auto.classes import (
    all_methods,
    data_of,
    definition,
    function_of,
    functions_in,
    implicit,
    is_users_class,
    kinds_in,
    sending,
    users_classes_with,
)
from plait._auto.concluding import Conclusion, Question, conclude, is_open
from plait._auto.effects import Effect
from plait._auto.fixed import is_fixed
from plait._auto.functions import held_by, unwrapped
from plait._auto.parameters import Parameters, parameters
from plait._auto.program import Program
from plait._auto.standing import Attribute, Binding
from plait._auto.summary import TooLarge
from plait._auto.tables import ALIASING, MUTATORS, is_generator_state, is_user_code

__all__ = ["Analysis", "analyse"]


class Analysis:
    """What was found in the code of a function, and of all that it calls."""

    def __init__(self, function: Any) -> None:
        """Read the code of what `unwrapped` has found."""
        # Nothing that is kept holds the function, nor what has it.
        self._code: weakref.ref[CodeType] | None = None
        make: Callable[..., Effect] = Effect
        self._is_code = isinstance(function, FunctionType) and is_user_code(function.__code__)
        if self._is_code:
            self._code = weakref.ref(function.__code__)
        else:
            make = _MadeBy(_name(function))
            function = _caller(function)
        self._parameters = Parameters(function)
        self._depends: tuple[Binding, ...] = ()
        self._held: tuple[Attribute, ...] = ()
        self._classes: tuple[weakref.ref[type], ...] = ()
        program = Program()
        notes = program.notes
        try:
            summary = program.of_function(function)
            if self._is_code:
                notes.compare(function)
            self._found = conclude(function, summary, notes, make)
            self._classes = tuple(map(weakref.ref, notes.classes))
            self._depends = tuple(Binding(function, *found) for found in notes.depends.values())
            self._held = tuple(Attribute(*found) for found in notes.attributes_of.values())
        except (TooLarge, RecursionError):
            self._found = Conclusion((_too_large(function),))
        except Exception as error:
            # Bytecode that the reader does not know: nothing is claimed of it.
            self._found = Conclusion((_unreadable(function, error),))
        #: What counts for all arguments, the weightiest first.
        self.always = self._found.always
        #: What counts where the argument can be changed, by its name.
        self.on_arguments = self._found.on_arguments
        #: Names of modules that data were found by: as (module, path).
        self.reads = self._found.reads
        #: Whether the code returns what it was given, or what others have as well.
        self.returns_shared = self._found.returns_shared

    def state(self, function: Any) -> list[Any]:
        """List what a call may change beside its arguments: what it reads, and what it holds."""
        found: list[Any] = []
        for module, path in sorted(self.reads):
            owner: Any = sys.modules.get(module) if module else None
            value: Any = function.__globals__ if owner is None else vars(owner)
            for name in path.split("."):
                namespace = value if isinstance(value, dict) else getattr(value, "__dict__", {})
                value = namespace.get(name)
            if not isinstance(value, FunctionType | type):
                found.append(value)
        if self._is_code:
            found += self._parameters.defaults.values()
            found += held_by(function)
        for reference in self._classes:
            cls = reference()
            if cls is not None:
                found.append(data_of(cls))
        return found

    def has_surroundings(self, function: Any) -> bool:
        """Whether there is such state beside its defaults: what others may change between calls."""
        defaults = self._parameters.defaults if self._is_code else ()
        return len(self.state(function)) > len(defaults)

    @property
    def binds_all(self) -> bool:
        """Whether calls with any arguments are to be made where they are."""
        return bool(self.always) and self.always[0].keeps == "here"

    @property
    def uses_context(self) -> bool:
        """Whether the code asks for a context variable."""
        return any(effect.keeps == "process" for effect in self.always)

    @property
    def has_open_defaults(self) -> bool:
        """Whether calls with arguments that cannot be changed are to be looked at all the same."""
        # A default that can be changed may be used; or it prints where that is kept.
        return self._parameters.has_open_defaults or self._prints() is not None

    def holds(self, function: Any) -> bool:
        """Whether the code of the function, and what it calls, is still the same."""
        if self._code is not None and getattr(function, "__code__", None) is not self._code():
            return False
        return all(binding.holds(function) for binding in self._depends) and all(
            held.holds() for held in self._held
        )

    def effect_on(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Effect | None:
        """Tell what binds a call with such arguments the most; None: nothing."""
        if self.binds_all:
            return self.always[0]
        values = self._parameters.bound(args, kwargs)
        for name, effect in self._found.direct.items():
            if any(map(_can_be_set, values.get(name, ()))):
                return effect
        open_values = {
            name: [value for value in held if not is_fixed(value)] for name, held in values.items()
        }
        # The user's classes in each, and whether there are no more.
        kinds = {id(value): kinds_in(value) for held in open_values.values() for value in held}
        if kinds:
            effect_of_argument = self._of_arguments(open_values, kinds)
            if effect_of_argument is not None:
                return effect_of_argument
        for value in (*args, *kwargs.values()):
            effect_of_callable = _of_callable(value)
            if effect_of_callable is not None:
                return effect_of_callable
        if self.always:
            return self.always[0]
        for name, held in open_values.items():
            for value in held:
                found = _of_sending(kinds[id(value)][0], name)
                if found is not None:
                    return found
        prints = self._prints()
        if prints is not None:
            return prints
        for name, is_whole, effect in self._found.returned:
            if any(is_open(value, is_whole) for value in open_values.get(name, ())):
                return effect
        return None

    def _prints(self) -> Effect | None:
        """Tell where it prints, if what is printed goes into an object of this process."""
        return None if sys.stdout is sys.__stdout__ else self._found.prints

    def _of_arguments(
        self, values: Mapping[str, list[Any]], kinds: Mapping[int, tuple[set[type], bool]]
    ) -> Effect | None:
        """Tell what the code does to arguments that is seen in their classes alone."""
        for name, method, is_result, effect in self._found.by_methods:
            for value in values.get(name, ()):
                own = definition(type(value), method)
                function = None if own is None else function_of(own[1])
                if function is None:
                    found = method in ALIASING if is_result else True
                else:
                    # The user's method says itself what it does: see below.
                    found = is_result and analyse(function).returns_shared
                if found:
                    return effect
        for name, held in values.items():
            for value in held:
                found_in = _of_value(kinds[id(value)][0], name)
                if found_in is not None:
                    return found_in
        for question in self._found.questions:
            for value in values.get(question.argument, ()):
                found_in = _of_question(value, question, *kinds[id(value)])
                if found_in is not None:
                    return found_in
        return None

    def of_object(self, name: str, cls: type | None) -> Effect | None:
        """Tell what the code changes of its argument of that name, an object of that class."""
        for argument, method, is_result, effect in self._found.by_methods:
            held = None if cls is None else definition(cls, method)
            if argument == name and not is_result and (held is None or not function_of(held[1])):
                return effect
        return self._found.direct.get(name)


class _MadeBy:
    """Makes the effects of what has no code to be read, by the name that it has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, text: str, file: str, line: int, *more: Any, **named: Any) -> Effect:
        if file != __file__:
            return Effect(text, file, line, *more, **named)
        # `_caller` calls it `fn`.
        return Effect(text.replace("`fn", f"`{self._name}"), None, 0, *more, **named)


def _caller(fn: Any) -> Any:
    """Make a function that calls another object, to be read in its place."""
    return lambda *args, **kwargs: fn(*args, **kwargs)


def _name(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None)
    return name if isinstance(name, str) else type(fn).__qualname__


def _can_be_set(value: Any) -> bool:
    """Whether code can change an object: of classes, functions and the like the attributes."""
    return isinstance(value, type | enum.Enum | FunctionType | ModuleType) or not is_fixed(value)


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
    if not callable(value):
        return None
    if isinstance(value, type):
        if not is_users_class(value):
            return None
        known = _makers.get(value)
        if known is None:
            known = _makers[value] = Analysis(value)
        return known.always[0] if known.always else None
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


def _of_value(kinds: set[type], name: str) -> Effect | None:
    """Tell what methods of an argument do that run where no code names them."""
    for cls in kinds:
        for function in implicit(cls, "given"):
            found = _of_function(function, cls)
            if found is not None:
                text = f"has `{name}`, of which `{function.__qualname__}()` {found.text}"
                return Effect(text, found.file, found.line, name, found.keeps)
    return None


def _of_sending(kinds: set[type], name: str) -> Effect | None:
    """Tell who says what another process is given in place of an argument, or of what is in it."""
    for cls in kinds:
        function = sending(cls)
        if function is not None:
            code = function.__code__
            text = f"has `{name}`, of which `{function.__qualname__}()` says what processes get"
            return Effect(text, code.co_filename, code.co_firstlineno, name, "process")
    return None


def _of_question(value: Any, asked: Question, kinds: set[type], is_all: bool) -> Effect | None:
    """Tell what is done by what the code calls, or looks up, of an argument."""
    name = asked.argument
    if not asked.name:
        for function in functions_in(value):
            found = _of_callable(function)
            if found is not None:
                return found
        if callable(value):
            return None
        for cls in kinds:
            # Some method of it, found by a name that was made up.
            for function in all_methods(cls):
                found = _of_function(function)
                if found is not None:
                    return Effect(found.text, found.file, found.line, name, found.keeps)
        return None
    having = [cls for cls in kinds if definition(cls, asked.name) is not None]
    if not (having or is_all) and asked.how == "call":
        # There is more in it than is looked at: any class that has such a method.
        having = users_classes_with(asked.name)
    for cls in having or kinds:
        for method in (
            (asked.name, "__getattribute__") if having else ("__getattr__", "__getattribute__")
        ):
            held = definition(cls, method)
            if held is None or (
                method == asked.name and asked.how == "get" and isinstance(held[1], FunctionType)
            ):
                continue
            found = _of_function(_called_of(held[1]), cls)
            if found is not None:
                mark = "" if asked.how == "get" else "()"
                text = f"calls `{name}.{asked.name}{mark}`, which {found.text}"
                return Effect(text, found.file, found.line, name, found.keeps)
    return None


def _called_of(raw: Any) -> FunctionType | None:
    """Find the function that runs where an attribute of a class is called, or looked up."""
    getter = definition(type(raw), "__get__")
    if getter is not None and isinstance(getter[1], FunctionType):
        return function_of(getter[1])
    return function_of(raw)


def _of_function(
    function: FunctionType | None, cls: type | None = None, seen: tuple[Any, ...] = ()
) -> Effect | None:
    """Tell what a method does to its object, of that class, or to anything that others have."""
    if function is None or not is_user_code(function.__code__) or function in seen:
        return None
    analysis = analyse(function)
    first = parameters(function.__code__)[:1]
    found = analysis.of_object(first[0], cls) if first else None
    if found is None and analysis.always:
        found = analysis.always[0]
    if found is not None or cls is None:
        return found
    for asked in analysis._found.questions:
        if (asked.argument,) != first or asked.is_of_part:
            continue
        held = definition(cls, asked.name) if asked.name else None
        if held is not None and (asked.how != "get" or not isinstance(held[1], FunctionType)):
            found = _of_function(_called_of(held[1]), cls, (*seen, function))
            if found is not None:
                return found
    return None


_makers: weakref.WeakKeyDictionary[type, Analysis] = weakref.WeakKeyDictionary()
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
