"""Whether what was found when code was read stands still."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from plait._auto.functions import MISSING
from plait._pickling.placing import module_of_globals

__all__ = ["Attribute", "Binding"]


class Attribute:
    """What an attribute of an object was, without holding either."""

    __slots__ = ("_name", "_owner", "_value")

    def __init__(self, owner: Any, name: str, value: Any) -> None:
        self._name = name
        self._owner = _weakly(owner)
        self._value = _weakly(value)

    def holds(self) -> bool:
        """Whether it is the same still; nobody knows of what cannot be held weakly."""
        owner, value = self._owner(), self._value()
        if owner is None or value is None:
            return True
        return getattr(owner, "__dict__", {}).get(self._name) is value


def _weakly(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None


class Binding:
    """What a global was bound to, without holding that."""

    __slots__ = ("_is_code", "_kind", "_module", "_name", "_value")

    def __init__(
        self, function: FunctionType, namespace: dict[str, Any], name: str, value: Any
    ) -> None:
        # The name of its module; or that it is the function's own namespace, or that of modules.
        self._module: str | None = module_of_globals(namespace) or ""
        if namespace is sys.modules:
            self._module = None
        elif namespace is function.__globals__:
            self._module = "."
        self._name = name
        self._kind = type(value)
        self._is_code = value is MISSING or callable(value) or isinstance(value, ModuleType)
        self._value: Any = None
        if self._is_code:
            try:
                self._value = weakref.ref(value)
            except TypeError:
                self._value = None

    def holds(self, function: Any) -> bool:
        """Whether it is bound to the same function still, or to data of the same kind."""
        if self._module is None:
            namespace: Any = sys.modules
        elif self._module == ".":
            namespace = getattr(function, "__globals__", {})
        else:
            module = sys.modules.get(self._module)
            if module is None:
                return True
            namespace = vars(module)
        found = namespace.get(self._name, MISSING)
        if self._is_code and self._value is not None:
            return self._value() is found
        return type(found) is self._kind
