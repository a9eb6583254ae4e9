"""What pickle refuses, or what would be another at the other side, and is made anew there.

- What pickles by a name that workers cannot import: a sentinel whose `__reduce__` returns its name,
  a `NewType`, a `ParamSpec`. It goes as a function of `__main__` does: told once by value, and by
  its name from then on.
- Objects that are nothing but themselves, as `MISSING = object()` is: where a global leads to one,
  it goes by the global's name, or `x is MISSING` would be false of what a default argument holds.
- Weak collections (`functools.singledispatch` has one) and `struct.Struct`: from what is in them.
- The standard streams: those of the receiver.
- Locks, thread-local data and context variables that a global leads to: new ones, free and empty,
  as if the receiver had run the program's module itself. As an argument they are refused, for who
  passes a lock wants to exclude somebody.
"""

import contextvars
import copyreg
import struct
import sys
import threading
import typing
import weakref
from _queue import SimpleQueue
from collections.abc import Callable, Iterator
from pickle import whichmodule  # type: ignore[attr-defined]
from typing import Any, Final

from plait._pickling.placing import Key, is_importable
from plait._pickling.rebuild import (
    fill_weak_set,
    find_constant,
    make_context_variable,
    make_parameters,
)

__all__ = ["Remaker"]

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_REDUCE: Final[Any] = object.__reduce__
_REDUCE_EX: Final[Any] = object.__reduce_ex__


class Remaker:
    """Reduces such objects, for one pickle."""

    def __init__(self, root: Key | None, keys: set[Any]) -> None:
        """Begin a pickle; see `plait._pickling.pickler.dumps`.

        Args:
            root: the key that is being told, if that is what the pickle is for.
            keys: where to note what the pickle names.

        """
        self._root = root
        self._keys = keys
        # By module, and by the identity of the value: the names of globals.
        self._names: dict[str, dict[int, str]] = {}
        # How objects of a class are reduced; None: as pickle does it.
        self._ways: dict[type, Callable[[Any], Any] | None] = {}

    def reduce(self, obj: Any) -> Any:
        """Reduce `obj`, if it is one of these; otherwise return `NotImplemented`."""
        kind = type(obj)
        try:
            way = self._ways[kind]
        except KeyError:
            way = self._ways[kind] = self._way(kind)
        return NotImplemented if way is None else way(obj)

    def _way(self, kind: type) -> Callable[[Any], Any] | None:
        way = _ALWAYS.get(kind)
        if way is None and self._root is not None:
            way = _OF_GLOBALS.get(kind)
        if way is not None:
            return way
        if kind is object:
            return self._constant
        if kind in _NAMED:
            return self._named
        if hasattr(kind, "flush"):
            return _stream
        if is_importable(kind.__module__) or kind in copyreg.dispatch_table:
            return None
        if kind.__reduce__ is not _REDUCE or kind.__reduce_ex__ is not _REDUCE_EX:
            return self._named
        base = next(cls for cls in kind.__mro__ if not cls.__flags__ & _HEAP_TYPE)
        return self._bare if base is object else None

    def _bare(self, obj: Any) -> Any:
        """Reduce an object of a class of the program, if it has nothing but its identity."""
        if getattr(obj, "__dict__", None) or obj.__getstate__() is not None:
            return NotImplemented
        return self._constant(obj)

    def _constant(self, obj: Any) -> Any:
        """Reduce what has no state to the name of the global that it is."""
        module = type(obj).__module__
        if type(obj) is object:
            module = "__main__" if self._root is None else self._root.module
        names = self._names.get(module)
        if names is None:
            # Of several names the first.
            names = {id(value): name for name, value in reversed(_globals(module))}
            self._names[module] = names
        name = names.get(id(obj), "")
        key = Key(module, name)
        # By its number, another object may have been there.
        if key == self._root or getattr(sys.modules.get(module), name, None) is not obj:
            return NotImplemented
        self._keys.add(key)
        return find_constant, (module, name, type(obj))

    def _named(self, obj: Any) -> Any:
        """Reduce what may reduce itself to a name."""
        reduced = obj.__reduce_ex__(5)
        if not isinstance(reduced, str):
            return reduced
        module = whichmodule(obj, reduced)
        found: Any = sys.modules.get(module)
        for part in reduced.split("."):
            found = getattr(found, part, None)
        key = Key(module, reduced.partition(".")[0])
        if found is obj and key != self._root:
            if not is_importable(module):
                self._keys.add(key)
            return reduced
        by_value = _NAMED.get(type(obj))
        if by_value is None:
            # Found under no name: pickle says so.
            return _by_value(obj) if found is obj else reduced
        return by_value(obj)


def _globals(module: str) -> list[tuple[str, Any]]:
    # A copy: other threads bind names.
    return list(vars(sys.modules[module]).items()) if module in sys.modules else []


def _by_value(obj: Any) -> Any:
    """Reduce an object by value whose own `__reduce__` does not."""
    return copyreg.__newobj__, (type(obj),), obj.__getstate__()  # type: ignore[attr-defined]


def _stream(obj: Any) -> Any:
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__"):
        if getattr(sys, name, None) is obj:
            return getattr, (sys, name)
    return NotImplemented


# ---- whose content is known


def _struct(obj: struct.Struct) -> Any:
    return struct.Struct, (obj.format,)


def _weak_dict(obj: Any) -> Any:
    # Filled after it was made: what is in it may lead back to it.
    return type(obj), (), None, None, iter(list(obj.items()))


def _weak_set(obj: "weakref.WeakSet[Any]") -> Any:
    return weakref.WeakSet, (), list(obj), None, None, fill_weak_set


_ALWAYS: Final[dict[type, Callable[[Any], Any]]] = {
    struct.Struct: _struct,
    weakref.WeakKeyDictionary: _weak_dict,
    weakref.WeakValueDictionary: _weak_dict,
    weakref.WeakSet: _weak_set,
}


# ---- which each process has its own of


def _empty(obj: Any) -> Any:
    return _makers[type(obj)], ()


def _context_variable(obj: "contextvars.ContextVar[Any]") -> Any:
    try:
        return make_context_variable, (obj.name, contextvars.Context().run(obj.get))
    except LookupError:
        return make_context_variable, (obj.name,)  # it has no default


_makers: Final[dict[type, Callable[[], Any]]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.local: threading.local,
    SimpleQueue: SimpleQueue,
}
_OF_GLOBALS: Final[dict[type, Callable[[Any], Any]]] = {
    **dict.fromkeys(_makers, _empty),
    contextvars.ContextVar: _context_variable,
}


# ---- what typing sends by name


def _new_type(obj: Any) -> Any:
    return make_parameters, (typing.NewType, (obj.__name__, obj.__supertype__), {}, obj.__module__)


def _parameters(obj: Any) -> Any:
    given = dict(_options(obj, ("bound", "covariant", "contravariant", "infer_variance")))
    if getattr(obj, "has_default", bool)():
        given["default"] = obj.__default__
    return make_parameters, (type(obj), (obj.__name__,), given, obj.__module__)


def _options(obj: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name in names:
        value = getattr(obj, f"__{name}__", None)
        if value:
            yield name, value


def _alias(obj: Any) -> Any:
    try:
        value = obj.__value__
        if _leads_to(value, obj, set()):
            value = typing.ForwardRef(obj.__name__)
    except Exception:
        # What it stands for is only evaluated now, and may be known to type checkers alone.
        value = typing.ForwardRef(obj.__name__)
    given = {"type_params": obj.__type_params__}
    return make_parameters, (type(obj), (obj.__name__, value), given, obj.__module__)


def _leads_to(value: Any, alias: Any, seen: set[int]) -> bool:
    if value is alias:
        return True
    if id(value) in seen:
        return False
    seen.add(id(value))
    parts = [*getattr(value, "__args__", ()), getattr(value, "__value__", None)]
    return any(_leads_to(part, alias, seen) for part in parts)


_NAMED: Final[dict[type, Callable[[Any], Any]]] = {
    typing.NewType: _new_type,
    typing.ParamSpec: _parameters,
    typing.TypeVarTuple: _parameters,
}
if sys.version_info >= (3, 12):
    _NAMED[typing.TypeAliasType] = _alias
