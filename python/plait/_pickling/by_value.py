"""The full pickler: what no name leads to goes by value.

Classes are cloudpickle's business. Functions are ours: cloudpickle gives those
of each dump globals of their own, and here all share the namespace.
"""

import enum
import marshal
import pickle
import sys
from collections.abc import Callable
from types import CellType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

import cloudpickle

from plait._binding import native
from plait._pickling.code import global_names, used_submodules
from plait._pickling.pickler import (
    CACHED,
    PROTOCOL,
    reduce_array,
    reduce_module,
    reduce_task,
    reduce_undecorated,
    reduce_view,
)
from plait._pickling.placing import (
    BY_IMPORT,
    BY_VALUE,
    Key,
    is_importable,
    module_of_globals,
    place,
)
from plait._pickling.rebuild import fill_function, make_bound, make_cached, make_cell, make_function
from plait._pickling.remade import Remaker
from plait._pickling.shared import LOCKS, REGISTERED, reduce_lock, reduce_shared
from plait._pickling.sharing import Placing, Shared, reduce_handle
from plait._task import TaskFunction

__all__ = ["FullPickler"]


class FullPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles anything that cloudpickle does, and collects the keys it names."""

    def __init__(
        self,
        packer: native.Packer | Placing,
        root: Key | None,
        home: bytes | None,
        watch: Callable[[Any], None] | None,
    ) -> None:
        """Write to `packer`; see `plait._pickling.pickler.dumps` for the others."""
        super().__init__(packer, PROTOCOL, buffer_callback=packer.buffer)
        self.keys: set[Key | Shared[Any]] = set()
        self._root = root
        self._remaker = Remaker(root, self.keys)
        self._home = home
        self._file = packer
        self._watch = watch
        # Globals of no module: one dict here is one dict there, in this dump.
        self._loose: dict[int, dict[str, Any]] = {}

    def dump(self, obj: Any) -> None:
        """Pickle `obj`."""
        # Past cloudpickle's own method, which makes a PicklingError of a
        # RecursionError.
        pickle.Pickler.dump(self, obj)

    def reducer_override(self, obj: Any) -> Any:
        """Decide how `obj` goes; called by the C pickler."""
        if self._watch is not None:
            self._watch(obj)
        kind = type(obj)
        if kind is FunctionType or kind is CACHED or isinstance(obj, type):
            where = place(obj)
            if where is BY_IMPORT:
                return NotImplemented
            if where is not BY_VALUE and where != self._root:
                assert isinstance(where, Key)
                self.keys.add(where)
                return NotImplemented
            if kind is FunctionType:
                reduced = reduce_undecorated(obj, self._root)
                if reduced is not None:
                    return reduced
                return self._bound_early(obj, self._reduce_function(obj))
            if kind is CACHED:
                state = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
                return make_cached, (obj.cache_parameters(), obj.__wrapped__), state
            return self._bound_early(obj, self._reduce_class(obj))
        if kind is TaskFunction:
            return reduce_task(obj, self._root, self.keys)
        if kind is CellType:
            return make_cell, ()
        if kind is memoryview:
            return reduce_view(obj)
        if kind is Shared:
            return reduce_handle(obj, self._home, self.keys, self._file)
        if kind is ModuleType:
            reduced = reduce_module(obj)
            if reduced is not NotImplemented:
                return reduced
        elif kind in REGISTERED:
            reduced = reduce_shared(obj)
            if reduced is not NotImplemented:
                return reduced
        elif kind in LOCKS:
            return reduce_lock(obj)
        elif kind.__name__ == "ndarray":
            reduced = reduce_array(obj)
            if reduced is not NotImplemented:
                return reduced
        remade = self._remaker.reduce(obj)
        return super().reducer_override(obj) if remade is NotImplemented else remade

    def _bound_early(self, obj: Any, reduced: Any) -> Any:
        """Have the root's name bound before the root is complete.

        What is in it may name it: a base class with a register of its
        subclasses leads to these, and they lead back.
        """
        root = self._root
        if root is None or obj.__qualname__ != root.name or reduced is NotImplemented:
            return reduced
        make, arguments, *rest = reduced
        return (make_bound, (root.module, root.name, make, arguments), *rest)

    def _reduce_class(self, cls: type) -> Any:
        module = sys.modules.get(cls.__module__)
        if module is None or cls.__module__ == "__main__" or is_importable(cls.__module__):
            return _keep_slots(cls, super().reducer_override(cls))
        # A module that only this process has: cloudpickle would send the name.
        cloudpickle.register_pickle_by_value(module)
        try:
            return _keep_slots(cls, super().reducer_override(cls))
        finally:
            cloudpickle.unregister_pickle_by_value(module)

    def _reduce_function(self, function: FunctionType) -> Any:
        code, variables = function.__code__, function.__globals__
        names = global_names(code)
        module = module_of_globals(variables)
        by_import = module is not None and is_importable(module)
        own: dict[str, Any] = {}
        where: str | dict[str, Any]
        if module is None:
            where = self._loose.setdefault(id(variables), {})
            own = {name: variables[name] for name in names if name in variables}
            own |= {
                name: variables[name] for name in ("__name__", "__package__") if name in variables
            }
        else:
            where = module
            if by_import:
                # No import binds these: pytest does, in modules whose assertions it rewrites.
                own = {
                    name: variables[name]
                    for name in names
                    if not name.isidentifier() and name in variables
                }
            else:
                self.keys.update(Key(module, name) for name in names)
        cells = function.__closure__
        state = {
            "cells": [(cell, cell.cell_contents) for cell in cells or () if _is_full(cell)],
            "submodules": () if by_import else used_submodules(code, variables),
            "globals": own,
            "dict": function.__dict__,
            "__name__": function.__name__,
            "__qualname__": function.__qualname__,
            "__module__": function.__module__,
            "__doc__": function.__doc__,
            "__defaults__": function.__defaults__,
            "__kwdefaults__": function.__kwdefaults__,
        }
        # From 3.14 on annotations are made by a function when asked for.
        annotate = getattr(function, "__annotate__", None)
        if annotate is None:
            state["__annotations__"] = function.__annotations__
        else:
            state["__annotate__"] = annotate
        type_params = getattr(function, "__type_params__", ())
        if type_params:
            state["__type_params__"] = type_params
        arguments = (marshal.dumps(code), where, by_import, cells)
        return make_function, arguments, state, None, None, fill_function


def _keep_slots(cls: type, reduced: Any) -> Any:
    """Make the class with its slots; cloudpickle sets `__slots__` when it is too late."""
    slots = vars(cls).get("__slots__")
    if slots is None or issubclass(cls, enum.Enum) or not isinstance(reduced, tuple):
        return reduced
    if NamedTuple in getattr(cls, "__orig_bases__", ()):
        return reduced  # makes its own, and refuses others
    creation, (attributes, *_) = reduced[1][3], reduced[2]
    creation["__slots__"] = slots if isinstance(slots, str | dict) else tuple(slots)
    attributes.pop("__slots__", None)
    for name, value in list(attributes.items()):
        if type(value) is MemberDescriptorType:
            del attributes[name]
    return reduced


def _is_full(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
