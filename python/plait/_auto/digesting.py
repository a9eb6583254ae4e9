"""Whether a value here and another in a worker are equal.

A digest is made of what a value is, not of how it is pickled: equal values have equal digests in
any process, whatever their objects share and however their sets are ordered. What cannot be
compared so, or is large, has none.
"""

from __future__ import annotations

import hashlib
import marshal
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from plait._pickling.placing import BY_VALUE, place

__all__ = ["Incomparable", "digest", "find"]

# So many parts, and bytes of strings and the like, are looked at.
_PARTS = 5_000
_BYTES = 1 << 20

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


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
        if isinstance(value, FunctionType | type | BuiltinFunctionType | ModuleType):
            return self._named(value)
        if id(value) in self._open:
            raise Incomparable("it leads to itself")
        self._open.add(id(value))
        try:
            return self._compound(value, kind)
        finally:
            self._open.discard(id(value))

    def _compound(self, value: Any, kind: type) -> bytes:
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
        owner = getattr(value, "__self__", None)
        if isinstance(value, BuiltinFunctionType) and not isinstance(
            owner, ModuleType | type | None
        ):
            return self._hash(b"method", value.__name__.encode(), self.of(owner))
        name = f"{value.__module__}:{value.__qualname__}"
        if isinstance(value, FunctionType) and place(value) is BY_VALUE:
            # The same code in the same file, and what it closes over.
            code = value.__code__
            held = [cell.cell_contents for cell in value.__closure__ or ()]
            return self._hash(b"code", name.encode(), code.co_code, *map(self.of, held))
        return self._hash(b"named", name.encode())

    def _hash(self, *parts: bytes) -> bytes:
        made = hashlib.blake2b(digest_size=16)
        for part in parts:
            self._bytes += len(part)
            made.update(len(part).to_bytes(8, "little"))
            made.update(part)
        if self._bytes > _BYTES:
            raise Incomparable("it is too large to be compared")
        return made.digest()


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
