"""The user's classes: what their attributes are, and which of their methods run unasked."""

from __future__ import annotations

import copyreg
import functools
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from plait._auto.fixed import is_plain
from plait._auto.tables import is_user_code

__all__ = [
    "all_methods",
    "class_data",
    "data_of",
    "definition",
    "function_of",
    "functions_in",
    "implicit",
    "is_users_class",
    "is_users_module",
    "kinds_in",
    "parts_of",
    "sending",
    "subclasses",
    "users_classes",
    "users_classes_with",
    "variables_of",
]

_HEAP_TYPE = 1 << 9
# Of classes whose metaclasses may have others.
_FLAGS, _MODULE = type.__dict__["__flags__"].__get__, type.__dict__["__module__"].__get__
# So many objects are looked at for the classes of what is in a container.
_LOOKED = 256
# What stands in classes around a function.
_HOLDING = (functools.cached_property, functools.partialmethod, functools.singledispatchmethod)
_CONTAINERS = (list, tuple, set, frozenset, deque)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SIGNS = _words("add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or")
#: Methods that instructions and functions in C call, and that are not expected to change anything:
#: no code names them.
_READING = (
    "__len__ __length_hint__ __iter__ __next__ __reversed__ __contains__ __getitem__ __missing__ "
    "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __hash__ __bool__ __str__ __repr__ __format__ "
    "__bytes__ __int__ __float__ __complex__ __index__ __round__ __trunc__ __floor__ __ceil__ "
    "__neg__ __pos__ __abs__ __invert__ __fspath__ __array__ __buffer__ __sizeof__ __dir__ "
    "__instancecheck__ __subclasscheck__ __await__ __aiter__ __anext__ "
    + " ".join(f"__{side}{name}__" for name in _SIGNS for side in ("", "r"))
)
# Of what is made they run as well.
_OF_MADE = "__post_init__ __set_name__ __del__"
_OF_PICKLED = "__reduce__ __reduce_ex__ __getstate__ __getnewargs__ __getnewargs_ex__"
_SENDING = _words(f"{_OF_PICKLED} __setstate__")
_NAMES = {
    "known": _words(_READING),
    "made": _words(f"{_READING} {_OF_MADE}"),
    "given": _words(f"{_READING} {_OF_PICKLED}"),
}


@functools.lru_cache(maxsize=1024)
def _is_users_file(name: str, file: str | None) -> bool:
    if file is None:
        return name not in sys.builtin_module_names
    return is_user_code(compile("", file, "exec"))


def is_users_module(name: str) -> bool:
    """Whether a module is the user's; one that is gone is."""
    module = sys.modules.get(name)
    return _is_users_file(name, getattr(module, "__file__", None))


def is_users_class(cls: type) -> bool:
    """Whether a class is the user's: of neither the standard library nor an installed package."""
    if not _FLAGS(cls) & _HEAP_TYPE:
        return False
    name = _MODULE(cls)
    return isinstance(name, str) and is_users_module(name)


def definition(cls: type, name: str) -> tuple[type, Any] | None:
    """Find what a class has under a name as it stands there, and in which of its bases."""
    for base in cls.__mro__:
        found = vars(base)
        if name in found:
            return base, found[name]
    return None


def function_of(value: Any) -> FunctionType | None:
    """Find the function behind what stands in a class: a method, a property, a cache, ..."""
    for _ in range(8):
        if isinstance(value, FunctionType):
            return value if is_user_code(value.__code__) else _wrapped_in(value)
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, _HOLDING):
            value = value.func
        else:
            value = _wrapped_in(value)
    return None


def _wrapped_in(value: Any) -> Any:
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    return variables_of(value).get("__wrapped__")


def variables_of(obj: Any) -> Mapping[str, Any]:
    """Map the names of what an object holds to that, without any code of the user's."""
    try:
        found = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def implicit(cls: type, use: str) -> tuple[FunctionType, ...]:
    """List the user's methods of a class that run where no code names them.

    Args:
        cls: the class.
        use: `"known"`: its object is there; `"made"`: the code makes it; `"given"`: it is an
            argument.

    """
    found = []
    for base in cls.__mro__:
        if not is_users_class(base):
            continue
        for name, value in vars(base).items():
            if name in _NAMES[use]:
                function = function_of(value)
                if function is not None:
                    found.append(function)
    return tuple(found)


def all_methods(cls: type) -> tuple[FunctionType, ...]:
    """List the user's functions of a class and its bases: code of a library may call any."""
    found = []
    for base in cls.__mro__:
        if is_users_class(base):
            functions = map(function_of, vars(base).values())
            found += [fn for fn in functions if fn is not None]
    return tuple(found)


def sending(cls: type) -> FunctionType | None:
    """Find a method of the user's that says what another process is given in place of an object."""
    registered = copyreg.dispatch_table.get(cls)
    if isinstance(registered, FunctionType) and is_user_code(registered.__code__):
        return registered
    for base in cls.__mro__:
        for name in _SENDING:
            function = function_of(vars(base).get(name))
            if function is not None:
                return function
    return None


def class_data(cls: type, name: str) -> bool:
    """Whether an attribute is left to the class: no code of its `__init__` sets it."""
    for base in cls.__mro__:
        own = vars(base).get("__init__")
        if isinstance(own, FunctionType) and name in own.__code__.co_names:
            return False
    return True


def data_of(cls: type) -> dict[str, Any]:
    """Map the names of the data that stand in a class to them."""
    return {name: value for name, value in vars(cls).items() if _is_data(name, value)}


def _is_data(name: str, value: Any) -> bool:
    if name[:2] == name[-2:] == "__":
        # Python itself adds some as a class is used.
        return False
    if isinstance(value, ModuleType) or type(value).__name__ == "getset_descriptor":
        return False
    return not callable(value) and not hasattr(type(value), "__get__")


def subclasses(cls: type) -> Iterator[type]:
    """List a class and all that are derived from it."""
    todo, seen = [cls], {cls}
    while todo:
        found = todo.pop()
        yield found
        derived: type
        for derived in type.__subclasses__(found):
            if derived not in seen:
                seen.add(derived)
                todo.append(derived)


def users_classes() -> list[type]:
    """List the user's classes, which takes some milliseconds."""
    found: list[type] = []
    todo: list[type] = [object]
    seen = {id(object)}
    while todo:
        derived: type
        for derived in type.__subclasses__(todo.pop()):
            if id(derived) in seen:
                continue
            seen.add(id(derived))
            todo.append(derived)
            if _is_users(derived):
                found.append(derived)
    return found


_having: dict[str, tuple[int, list[weakref.ref[type]]]] = {}


def users_classes_with(name: str) -> list[type]:
    """List the user's classes that have a method of that name, as of late."""
    count = len(type.__subclasses__(object))
    known = _having.get(name)
    if known is None or known[0] != count:
        found = [weakref.ref(cls) for cls in users_classes() if name in vars(cls)]
        known = _having[name] = count, found
    return [cls for reference in known[1] if (cls := reference()) is not None]


# Classes that are not the user's, or have nothing to be looked for.
_of_users: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def _is_users(cls: type) -> bool:
    known = _of_users.get(cls)
    if known is None:
        known = _of_users[cls] = is_users_class(cls)
    return known


def functions_in(value: Any) -> list[Any]:
    """List the functions among what is in an object."""
    return [one for one in _walk(value) if callable(one) and not isinstance(one, type)]


def kinds_in(value: Any) -> tuple[set[type], bool]:
    """Find the user's classes among an object and what is in it.

    Returns:
        The classes, and whether everything was looked at.

    """
    looked = list(_walk(value))
    found = {type(one) for one in looked}
    is_all = len(looked) < _LOOKED and not any(map(_is_long, looked))
    return {kind for kind in found if _is_users(kind)}, is_all


def _is_long(one: Any) -> bool:
    """Whether a container has more in it than is looked at."""
    kinds: tuple[Any, ...] = (dict, *_CONTAINERS)
    for base in kinds:
        if isinstance(one, base):
            # Not by a `__len__` of the user's.
            return bool(base.__len__(one) > _LOOKED)
    return False


def _walk(value: Any) -> Iterator[Any]:
    """List an object and what is in it, as far as that goes."""
    todo: deque[Any] = deque([value])
    seen: set[int] = set()
    while todo and len(seen) < _LOOKED:
        one = todo.popleft()
        if is_plain(one) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kind = type(one)
        if not issubclass(kind, type | ModuleType | FunctionType):
            todo.extend(_some(_parts(one, kind)))


def parts_of(value: Any) -> list[Any] | None:
    """List what is in an object, as far as that goes; None: its class does not tell."""
    kind = type(value)
    if issubclass(kind, (dict, *_CONTAINERS)) or _is_users(kind):
        return list(_walk(value))[1:]
    return None


def _parts(one: Any, kind: type) -> Iterable[Any]:
    """List what is in an object, without any code of the user's."""
    parts: list[Any] = []
    try:
        if issubclass(kind, dict):
            parts = list(_some(dict.values(one))) + list(_some(dict.keys(one)))
        else:
            base = next((base for base in _CONTAINERS if issubclass(kind, base)), None)
            if base is not None:
                parts = list(_some(base.__iter__(one)))
        held = object.__getattribute__(one, "__dict__")
    except (AttributeError, RuntimeError):
        # It has none; or another thread changes it just now.
        return parts
    if isinstance(held, Mapping):
        parts += _some(held.values())
    return parts


def _some(values: Iterable[Any]) -> Iterator[Any]:
    for _, value in zip(range(_LOOKED), values, strict=False):
        yield value
