"""The pickler: cloudpickle's, but for what belongs to an importable module or to `__main__`."""

from __future__ import annotations

import io
import pickle
import sys
import types
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from plait._pickling import functions

__all__ = ["MISSING", "Pickler", "dumps"]

PROTOCOL = 5

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()


def _found(module: types.ModuleType, qualname: str) -> Any:
    """Return what `qualname` leads to in `module`, or `MISSING`."""
    found: Any = module
    for name in qualname.split("."):
        if name == "<locals>":
            return MISSING
        found = getattr(found, name, MISSING)
    return found


def _by_name(obj: Any) -> str | None:
    """Return the module that has `obj` under its own qualified name, if one has."""
    name = getattr(obj, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None:
        return None
    return name if _found(module, obj.__qualname__) is obj else None


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles one object, and notes what it needs of `__main__`.

    Args:
        file: Where to.
        roots: Names of `__main__` whose values are what is being pickled: they,
            and what is defined inside them, go by value.

    Attributes:
        needs: Names that must be in the reader's `__main__` when it reads.
        uses: Names that functions in here look up when they are called.

    """

    def __init__(self, file: io.BytesIO, roots: frozenset[str] = frozenset()) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self._roots = roots
        self.needs: set[str] = set()
        self.uses: set[str] = set()

    def dump(self, obj: Any) -> None:
        """Write the pickle; a RecursionError stays one, as with plain pickle."""
        pickle.Pickler.dump(self, obj)

    def reducer_override(self, obj: Any) -> Any:
        """Decide how a function or a class is pickled; leave all else to cloudpickle."""
        is_function = isinstance(obj, types.FunctionType)
        if not is_function and not isinstance(obj, type):
            return super().reducer_override(obj)
        module = _by_name(obj)
        if module == "__main__":
            name = obj.__qualname__.partition(".")[0]
            if name not in self._roots:
                self.needs.add(name)
                return NotImplemented
        if not is_function or module not in (None, "__main__"):
            return super().reducer_override(obj)
        where = functions.home(obj)
        if where is None:
            return super().reducer_override(obj)
        if where == "__main__":
            self.uses |= functions.global_names(obj.__code__)
        arguments, state = functions.take_apart(obj)
        return functions.build, arguments, state, None, None, functions.fill


def dumps(obj: Any) -> bytes:
    """Pickle an object on its way back to the parent, whose `__main__` has every name."""
    file = io.BytesIO()
    Pickler(file).dump(obj)
    return file.getvalue()
