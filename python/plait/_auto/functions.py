"""Functions and their calls: what is behind wrappers, what parameters are, who may call."""

from __future__ import annotations

import dataclasses
import functools
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from plait._auto.classes import definition, is_users_class, is_users_module
from plait._auto.fixed import is_fixed
from plait._auto.parameters import defaults_of, parameters
from plait._auto.reading import Reader
from plait._auto.tables import is_user_code
from plait._auto.values import NOTHING, Code, Fresh, Known, Local, Method, Root, Value
from plait._task import TaskFunction

__all__ = [
    "CACHED",
    "MISSING",
    "behind",
    "bind",
    "has_users_names",
    "held",
    "held_by",
    "is_in",
    "is_users",
    "keeps_arguments",
    "keywords_of",
    "known_function",
    "may_be_called",
    "unwrapped",
    "users_function",
]

MISSING: Any = object()

CACHED = type(functools.lru_cache(lambda: None))
# What stands in a data class for "make one".
_NO_FACTORY = getattr(dataclasses, "_HAS_DEFAULT_FACTORY_CLASS", object)


def unwrapped(obj: Any) -> tuple[Any, tuple[Any, ...]]:
    """Find the function behind a task, a cache, a partial or a method; and its first arguments."""
    before: tuple[Any, ...] = ()
    while True:
        if type(obj) is TaskFunction or type(obj) is CACHED:
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
        elif type(obj) is TaskFunction or type(obj) is CACHED:
            obj = obj.__wrapped__
        elif type(obj) is MethodType:
            obj = obj.__func__
        else:
            return found


def behind(obj: Any) -> list[FunctionType]:
    """List the user's functions that a decorator of a library calls: those that it tells of."""
    if not isinstance(obj, FunctionType):
        return []
    found = [getattr(obj, "__wrapped__", None)]
    registry: Any = getattr(obj, "registry", None)
    if hasattr(registry, "values"):
        found += registry.values()
    return [fn for fn in found if isinstance(fn, FunctionType) and is_user_code(fn.__code__)]


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


def users_function(obj: Any) -> FunctionType | None:
    function, _ = unwrapped(obj)
    if isinstance(function, FunctionType) and is_user_code(function.__code__):
        return function
    return None


def may_be_called(root: Root) -> bool:
    """Whether something is a function that whoever has it may call."""
    if type(root) is Code or type(root) is Method or type(root) is Local:
        return True
    if type(root) is Fresh:
        return root.kind is not None and (
            not isinstance(root.kind, type) or definition(root.kind, "__call__") is not None
        )
    if type(root) is not Known:
        return False
    obj = root.obj
    if users_function(obj) is not None or isinstance(obj, BuiltinFunctionType):
        return True
    if isinstance(obj, type):
        return is_users_class(obj)
    return is_users_class(type(obj)) and definition(type(obj), "__call__") is not None


def known_function(function: FunctionType) -> Value:
    return frozenset({Known(function, function.__qualname__)})


def keeps_arguments(cls: type) -> bool:
    """Whether what a class is made of may be kept by one of its bases that is not the user's."""
    return any(base is not object and not is_users_class(base) for base in cls.__mro__)


def has_users_names(obj: Any) -> bool:
    if isinstance(obj, ModuleType):
        return is_users_module(obj.__name__)
    return isinstance(obj, type) and is_users_class(obj)


def is_in(code: CodeType, reader: Reader) -> bool:
    """Whether a function is made in the code that is read, or around that."""
    outermost: Reader = reader
    while outermost.outer is not None:
        outermost = outermost.outer
    todo = [outermost.code]
    while todo:
        for constant in todo.pop().co_consts:
            if constant is code:
                return True
            if isinstance(constant, CodeType):
                todo.append(constant)
    return False


def is_users(module: str, reader: Reader) -> bool:
    """Whether what a module holds may change as the program runs: libraries are taken not to."""
    found = sys.modules.get(module)
    return found is None or vars(found) is reader.namespace or is_users_module(module)


def bind(
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
            if function is None:
                bound[name] |= reader.defaults.get(id(code), NOTHING)
        elif rest:
            bound[name] |= rest
    return bound


def _default(function: FunctionType | None, code: CodeType, name: str) -> Value:
    """Tell what a parameter is that no argument is given for."""
    if function is None:
        return NOTHING
    value = defaults_of(function).get(name, MISSING)
    return NOTHING if value is MISSING else held(value, name)


def held(value: Any, path: str) -> Value:
    """Tell what is known of an object that a function holds."""
    # Of classes and functions the attributes can be set.
    if is_fixed(value) and not isinstance(value, type | FunctionType):
        return NOTHING
    if type(value) is object or type(value) is _NO_FACTORY:
        # Nothing can be set of it.
        return NOTHING
    return frozenset({Known(value, path)})
