"""The fast pickler, for what can be named; it hands over to the full one."""

import contextlib
import functools
import importlib
import pickle
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, TypeVar

from plait._binding import native
from plait._pickling.placing import BY_IMPORT, BY_VALUE, Key, is_importable, place
from plait._pickling.rebuild import make_view, namespace, unwrap
from plait._pickling.remade import Remaker
from plait._pickling.shared import LOCKS, REGISTERED, reduce_lock, reduce_shared
from plait._pickling.sharing import Placing, Shared, reduce_handle
from plait._task import TaskFunction, named_task

__all__ = [
    "CACHED",
    "PROTOCOL",
    "dumps",
    "reduce_array",
    "reduce_task",
    "reduce_undecorated",
    "reduce_view",
]

PROTOCOL = 5

# What `functools.lru_cache` makes of a function: it pickles itself by name.
CACHED = type(functools.lru_cache(lambda: None))

# What plain pickle refuses, or sends by a name that leads elsewhere.
_FULL = frozenset(
    {CellType, CodeType, MappingProxyType, classmethod, staticmethod, property, TypeVar}
    | {type({}.keys()), type({}.values()), type({}.items())}
)


class _NeedsFullPickler(BaseException):
    """Not an `Exception`: no `__reduce__` of the user's may catch it."""


class _FastPickler(pickle.Pickler):
    def __init__(
        self,
        packer: native.Packer | Placing,
        root: Key | None,
        home: bytes | None,
        watch: Callable[[Any], None] | None,
    ) -> None:
        super().__init__(packer, PROTOCOL, buffer_callback=packer.buffer)
        self.keys: set[Key | Shared[Any]] = set()
        self._root = root
        self._remaker = Remaker(root, self.keys)
        self._home = home
        self._file = packer
        self._watch = watch

    def reducer_override(self, obj: Any) -> Any:
        if self._watch is not None:
            self._watch(obj)
        kind = type(obj)
        if kind is FunctionType or kind is CACHED or isinstance(obj, type):
            where = place(obj)
            if where is BY_IMPORT:
                return NotImplemented
            if where is BY_VALUE or where == self._root:
                reduced = reduce_undecorated(obj, self._root)
                if reduced is not None:
                    return reduced
                raise _NeedsFullPickler
            assert isinstance(where, Key)
            self.keys.add(where)
        elif kind is TaskFunction:
            return reduce_task(obj, self._root, self.keys)
        elif kind is ModuleType:
            return reduce_module(obj)
        elif kind is memoryview:
            return reduce_view(obj)
        elif kind is Shared:
            return reduce_handle(obj, self._home, self.keys, self._file)
        elif kind in _FULL:
            raise _NeedsFullPickler
        elif kind in REGISTERED:
            return reduce_shared(obj)
        elif kind in LOCKS:
            return reduce_lock(obj)
        elif kind.__name__ == "ndarray":
            reduced = reduce_array(obj)
            if reduced is not NotImplemented:
                return reduced
        return self._remaker.reduce(obj)


def reduce_task(obj: TaskFunction[..., Any], root: Key | None, keys: set[Key | Shared[Any]]) -> Any:
    """How a decorated function is sent: as a function, by name or by value."""
    where = place(obj)
    if where is BY_VALUE or where == root:
        return obj.reduce_by_value()
    if where is not BY_IMPORT:
        assert isinstance(where, Key)
        keys.add(where)
    return NotImplemented


def reduce_undecorated(obj: Any, root: Key | None) -> tuple[Any, ...] | None:
    """How a bare function is sent whose name leads to it decorated.

    The other side finds that one by the name, and unwraps it. None for any
    other object, and in the image of the decorated function itself.
    """
    task = named_task(obj)
    if task is None or place(task) == root:
        return None
    return unwrap, (task,)


def reduce_module(module: ModuleType) -> Any:
    """How a module is sent: by its name, of course."""
    name = module.__name__
    if is_importable(name):
        return importlib.import_module, (name,)
    if name == "__main__":
        return namespace, (name,)
    return NotImplemented


def reduce_view(view: memoryview) -> Any:
    """How a view is sent: as a buffer, with its format and shape.

    One with gaps between its items arrives without them, as every copy of it is.
    """
    if not view.contiguous:
        copy = view.tobytes()
        buffer = pickle.PickleBuffer(copy if view.readonly else bytearray(copy))
    else:
        buffer = pickle.PickleBuffer(view)
    by_columns = view.f_contiguous and not view.c_contiguous
    return make_view, (buffer, view.format, view.itemsize, view.shape, by_columns)


def reduce_array(array: Any) -> Any:
    """How an array of NumPy's is sent that has gaps between its items: without them.

    By itself it would be part of the pickle, which is copied, and always writable.
    """
    if type(array).__module__ != "numpy" or array.flags.forc or array.dtype.hasobject:
        return NotImplemented
    dense = array.copy(order="K")
    dense.flags.writeable = array.flags.writeable
    return dense.__reduce_ex__(PROTOCOL)


def dumps(
    obj: Any,
    packer: native.Packer | Placing,
    root: Key | None = None,
    home: bytes | None = None,
    watch: Callable[[Any], None] | None = None,
) -> set[Key | Shared[Any]]:
    """Pickle `obj`.

    Args:
        obj: anything.
        packer: what to write to; it is empty.
        root: the key that `obj` is the value of, if it is: what this name
            leads to goes by value, for it is what the name is to lead to.
        home: whose handles of shared objects may be in it; see `sharing.py`.
        watch: is told of each object that is not of a builtin type, before it is pickled; what it
            raises ends that.

    Returns:
        The keys and the handles that the pickle names.

    Raises:
        Exception: what the pickler raises, or the `__reduce__` of something.

    """
    fast = _FastPickler(packer, root, home, watch)
    # Suppressed, not handled: what the full pickler raises is no consequence.
    with contextlib.suppress(_NeedsFullPickler):
        fast.dump(obj)
        return fast.keys
    # Imported only where something needs it: it takes a while.
    from plait._pickling.by_value import FullPickler

    packer.clear()
    full = FullPickler(packer, root, home, watch)
    full.dump(obj)
    return full.keys
