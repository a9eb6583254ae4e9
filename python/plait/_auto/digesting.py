"""Whether a value here and another in a worker are equal.

A digest is made of what a value is, not of how it is pickled: equal values have equal digests in
any process, whatever their objects share and however their sets are ordered. Functions are equal
where their names and their code are, with what they hold; classes of the user's where their methods
and data are too. What cannot be compared so, or is large, has none.
"""

from __future__ import annotations

import hashlib
import marshal
import sys
import weakref
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from plait._auto.tables import is_user_file
from plait._task import TaskFunction

__all__ = ["Incomparable", "digest", "digest_of_code", "find"]

# So many parts, and bytes of strings and the like, are looked at.
_PARTS = 5_000
_BYTES = 1 << 20

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))

# Digests of code, which never changes: by its identity.
_codes: dict[int, tuple[weakref.ref[CodeType], bytes]] = {}


class Incomparable(Exception):
    """A value has no digest."""


def digest(value: Any) -> bytes:
    """Make 16 bytes that are the same for equal values alone.

    Raises:
        Incomparable: the value, or something in it, cannot be compared; the text says why.

    """
    return _Digester().of(value)


class _Digester:
    def __init__(self) -> None:
        self._parts = 0
        self._bytes = 0
        # Those that are being looked at: what leads to itself has no end.
        self._open: set[int] = set()

    def of(self, value: Any) -> bytes:
        self._parts += 1
        if self._parts > _PARTS:
            raise Incomparable("it is too large to be compared")
        kind = type(value)
        if kind in _PLAIN:
            # `marshal` of such a value is the same in every process; of version 2, which tells no
            # shared objects.
            return self._hash(b"p", marshal.dumps(value, 2))
        if kind in (bytearray, memoryview):
            return self._hash(kind.__name__.encode(), bytes(value))
        if isinstance(value, BuiltinFunctionType | ModuleType):
            return self._named(value)
        if id(value) in self._open:
            if isinstance(value, FunctionType | type):
                return self._named(value)
            raise Incomparable("it leads to itself")
        self._open.add(id(value))
        try:
            return self._compound(value, kind)
        finally:
            self._open.discard(id(value))

    def _compound(self, value: Any, kind: type) -> bytes:
        if kind is FunctionType:
            return self._function(value)
        if kind is TaskFunction:
            return self.of(value.__wrapped__)
        if isinstance(value, type):
            return self._class(value)
        if kind in (tuple, list):
            return self._hash(kind.__name__.encode(), *map(self.of, value))
        if kind in (set, frozenset):
            return self._hash(kind.__name__.encode(), *sorted(map(self.of, value)))
        if kind is dict:
            return self._hash(b"dict", *(self.of(part) for pair in value.items() for part in pair))
        if kind.__module__ == "numpy" and kind.__name__ == "ndarray" and not value.dtype.hasobject:
            form = repr((value.dtype.str, value.shape)).encode()
            return self._hash(b"array", form, value.tobytes())
        return self._hash(b"object", *self._reduced(value))

    def _reduced(self, value: Any) -> Iterator[bytes]:
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            kind = type(value).__qualname__
            raise Incomparable(f"an object of type {kind} cannot be compared ({error})") from None
        if isinstance(reduced, str):
            yield self._hash(b"name", type(value).__module__.encode(), reduced.encode())
            return
        # A function, its arguments, a state, items of a list, items of a dict.
        for part in reduced[:5]:
            if hasattr(type(part), "__next__"):
                part = list(part)
            yield self.of(part)

    def _named(self, value: Any) -> bytes:
        if isinstance(value, ModuleType):
            return self._hash(b"module", value.__name__.encode())
        # Of what is no such function an attribute may be the work of the user's `__getattr__`.
        owner = value.__self__ if isinstance(value, BuiltinFunctionType) else None
        if not isinstance(owner, ModuleType | type | None):
            return self._hash(b"method", value.__name__.encode(), self.of(owner))
        return self._hash(b"named", f"{value.__module__}:{value.__qualname__}".encode())

    def _function(self, value: FunctionType) -> bytes:
        held: list[Any] = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).items()]
        for cell in value.__closure__ or ():
            try:
                held.append(cell.cell_contents)
            except ValueError:
                held.append("a variable without a value")
        code = digest_of_code(value.__code__)
        return self._hash(b"function", self._named(value), code, *map(self.of, held))

    def _class(self, value: type) -> bytes:
        parts = [self._named(value)]
        own = [(name, part) for name, part in vars(value).items() if _counts(name, part)]
        if _is_users(value):
            parts += map(self.of, value.__bases__)
            for name, part in sorted(own, key=lambda one: one[0]):
                codes = _codes_of(part)
                found = list(map(digest_of_code, codes)) if codes else self._of_data(part)
                kind = type(part).__qualname__.encode()
                parts.append(self._hash(name.encode(), kind, *found))
        return self._hash(b"class", *parts)

    def _of_data(self, part: Any) -> list[bytes]:
        try:
            return [self.of(part)]
        except Incomparable:
            # A lock, say, or a slot: that there is one has to do.
            return []

    def _hash(self, *parts: bytes) -> bytes:
        made = hashlib.blake2b(digest_size=16)
        for part in parts:
            self._bytes += len(part)
            made.update(len(part).to_bytes(8, "little"))
            made.update(part)
        if self._bytes > _BYTES:
            raise Incomparable("it is too large to be compared")
        return made.digest()


def _is_users(cls: type) -> bool:
    """Whether the user has written a class: here and in a worker the answer is the same."""
    if cls.__module__ == "__main__":
        return True
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return isinstance(file, str) and is_user_file(file)


def _counts(name: str, part: object) -> bool:
    """Whether a class has it from its author: Python adds things in one process alone."""
    return not (name[:2] == name[-2:] == "__") or isinstance(part, FunctionType)


def _codes_of(part: Any) -> list[CodeType]:
    """List the code of a method, however it is wrapped."""
    if isinstance(part, staticmethod | classmethod):
        part = part.__func__
    found = [part.fget, part.fset, part.fdel] if isinstance(part, property) else [part]
    return [one.__code__ for one in found if isinstance(one, FunctionType)]


def digest_of_code(code: CodeType) -> bytes:
    """Make 16 bytes that are the same for equal code alone, wherever its file is."""
    known = _codes.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    made = hashlib.blake2b(digest_size=16)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    for part in (marshal.dumps(names, 2), code.co_code, *map(_digest_of_constant, code.co_consts)):
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    number, found = id(code), made.digest()
    _codes[number] = weakref.ref(code, lambda _: _codes.pop(number, None)), found
    return found


def _digest_of_constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return digest_of_code(value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_digest_of_constant, value)) + b")"
    if isinstance(value, frozenset):
        return b"{" + b"".join(sorted(map(_digest_of_constant, value))) + b"}"
    return marshal.dumps(value, 2)


def find(module: str, path: str) -> Any:
    """Find a value by the name of its module and the path there.

    Raises:
        Incomparable: there is none.

    """
    found: Any = sys.modules.get(module)
    if not module:
        raise Incomparable("it is a name of no module")
    if found is None:
        # A worker imports it when the function comes; what is told by value is there by then.
        raise Incomparable(f"{module} is not there")
    for name in path.split("."):
        try:
            found = vars(found)[name]
        except (KeyError, TypeError):
            raise Incomparable(f"{module}.{path} is not there") from None
    return found
