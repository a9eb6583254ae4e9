"""What pickles call at the other side. Imports little: every worker has it."""

import builtins
import contextvars
import functools
import importlib
import marshal
import os
import sys
from collections.abc import Callable
from types import CellType, FunctionType, ModuleType
from typing import Any

from plait._binding import native

__all__ = [
    "draw_by",
    "fill_function",
    "fill_weak_set",
    "find_constant",
    "made_before",
    "make_bound",
    "make_cached",
    "make_cell",
    "make_context_variable",
    "make_function",
    "make_parameters",
    "make_view",
    "namespace",
    "unwrap",
]


# A child of a fork has the views of its parent: their memory is not used again
# before it is gone.
os.register_at_fork(
    before=native.views_before_fork,
    after_in_parent=native.views_after_fork_in_parent,
    after_in_child=native.views_after_fork_in_child,
)

# What was made while the arguments for making it were still being read.
made_before: dict[tuple[str, str], Any] = {}

_draw: Callable[[tuple[str, str]], None] | None = None


def draw_by(draw: Callable[[tuple[str, str]], None]) -> None:
    """Have a global loaded, if it still has to be, before it is looked up by its name."""
    global _draw
    _draw = draw


def namespace(name: str) -> ModuleType:
    """Find the module of that name; make it, empty, if there is none."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)
        # As in a module that was executed.
        module.__dict__["__builtins__"] = builtins
        parent_name, _, child = name.rpartition(".")
        if parent_name:
            # An import of the module, which unpickling is, asks for them all.
            try:
                parent = importlib.import_module(parent_name)
            except ModuleNotFoundError:
                parent = namespace(parent_name)
                parent.__path__ = []
            setattr(parent, child, module)
    return module


def make_bound(module: str, name: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Make what is filled later, and bind its name at once."""
    made = made_before.pop((module, name), None)
    if made is None:
        made = make(*arguments)
    namespace(module).__dict__[name] = made
    return made


def make_cell() -> CellType:
    """Make an empty cell; the functions that have it know what to put in."""
    return CellType()


def make_function(
    code: bytes, where: str | dict[str, Any], by_import: bool, cells: tuple[CellType, ...] | None
) -> FunctionType:
    """Make a function that is filled later, for it may refer to itself."""
    if isinstance(where, dict):
        variables = where
        variables["__builtins__"] = builtins
    elif by_import:
        variables = importlib.import_module(where).__dict__
    else:
        variables = namespace(where).__dict__
    return FunctionType(marshal.loads(code), variables, None, None, cells)


def fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    """Give a function what `FullPickler` found on it."""
    for cell, contents in state.pop("cells"):
        cell.cell_contents = contents
    for module in state.pop("submodules"):
        importlib.import_module(module)
    function.__globals__.update(state.pop("globals"))
    function.__dict__.update(state.pop("dict"))
    for name, value in state.items():
        setattr(function, name, value)


def make_cached(parameters: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Make what `functools.lru_cache` makes."""
    cached: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return cached


def unwrap(decorated: Callable[..., Any]) -> Callable[..., Any]:
    """Find the bare function behind a decorated one."""
    bare: Callable[..., Any] = decorated.__wrapped__  # type: ignore[attr-defined]
    return bare


def make_view(
    buffer: Any, code: str, item: int, shape: tuple[int, ...], by_columns: bool
) -> memoryview:
    """Make a view, with items of this format, of a buffer that came as bytes."""
    view = memoryview(buffer)
    if (view.format, view.shape) == (code, shape):
        return view
    return memoryview(native.Shaped(view, code, item, shape, by_columns))  # type: ignore[arg-type, unused-ignore]  # typed from 3.12 on


def find_constant(module: str, name: str, kind: type[Any]) -> Any:
    """Find the global that is nothing but itself; make one if it was never told."""
    if _draw is not None:
        _draw((module, name))
    found = vars(namespace(module)).get(name)
    return found if type(found) is kind else object.__new__(kind)


def fill_weak_set(collection: Any, items: list[Any]) -> None:
    """Put items into a weak set."""
    collection.update(items)


def make_context_variable(name: str, *default: Any) -> "contextvars.ContextVar[Any]":
    """Make a variable that nobody has set."""
    if default:
        return contextvars.ContextVar(name, default=default[0])
    return contextvars.ContextVar(name)


def make_parameters(
    kind: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], module: str
) -> Any:
    """Make what `typing` has types described by, in the name of that module."""
    # They take the module from whoever calls, and some of them let nobody change it.
    call = FunctionType(_call.__code__, {"__name__": module, "__builtins__": builtins})
    return call(kind, args, kwargs)


def _call(kind: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kind(*args, **kwargs)
