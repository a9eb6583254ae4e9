"""Context variables that travel with a call into another process."""

from __future__ import annotations

import contextvars
import importlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Carried", "carrying"]


class Carried:
    """A function, and the values that context variables have where it is called."""

    __slots__ = ("function", "values")

    def __init__(self, function: Callable[..., Any], values: dict[str, Any]) -> None:
        """Call `function`; `values` are by names such as "package.module:variable"."""
        self.function = function
        self.values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return Carried, (self.function, self.values)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function in a context of its own, where the variables have their values."""
        context = contextvars.copy_context()
        context.run(_enter, self.values)
        value = context.run(self.function, *args, **kwargs)
        # A coroutine runs in the context of its task.
        return self._awaited(value) if isinstance(value, Coroutine) else value

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        _enter(self.values)
        return await coroutine


def carrying(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Have a function take the values with it that the variables have now.

    Raises:
        LookupError: there is no such variable.
        TypeError: what has the name is none.

    """
    values = {}
    for name in names:
        variable = _find(name)
        if variable is None:
            raise LookupError(f"context={name!r}: there is no such variable")
        try:
            values[name] = variable.get()
        except LookupError:
            continue  # it has no value here, nor will it have one there
    return Carried(function, values) if values else function


def _enter(values: dict[str, Any]) -> None:
    for name, value in values.items():
        variable = _find(name)
        # Of `__main__`, a worker has what the function uses.
        if variable is not None:
            variable.set(value)


def _find(name: str) -> contextvars.ContextVar[Any] | None:
    """Find a context variable by its name, of the form "package.module:variable"."""
    module_name, _, path = name.partition(":")
    found: Any = sys.modules.get(module_name)
    if found is None:
        found = importlib.import_module(module_name)
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not None and not isinstance(found, contextvars.ContextVar):
        raise TypeError(
            f"context={name!r} is no contextvars.ContextVar but an object of type "
            f"{type(found).__qualname__}"
        )
    return found
