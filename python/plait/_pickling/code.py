"""The globals that code uses."""

import dis
import sys
import weakref
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

__all__ = ["global_names", "used_submodules"]

# What is stored counts too: an initializer that sets a global must find its
# old value told before, or the telling would undo what it set.
_OPERATIONS = {
    "LOAD_GLOBAL",
    "LOAD_NAME",
    "LOAD_FROM_DICT_OR_GLOBALS",
    "STORE_GLOBAL",
    "DELETE_GLOBAL",
}

_known: "weakref.WeakKeyDictionary[CodeType, frozenset[str]]" = weakref.WeakKeyDictionary()


def global_names(code: CodeType) -> frozenset[str]:
    """List the global names that `code`, or code inside it, reads or binds."""
    names = _known.get(code)
    if names is None:
        names = frozenset(
            instruction.argval
            for part in _parts(code)
            for instruction in dis.get_instructions(part)
            if instruction.opname in _OPERATIONS
        )
        _known[code] = names
    return names


def used_submodules(code: CodeType, namespace: dict[str, Any]) -> tuple[str, ...]:
    """List the submodules that `code` reaches through packages among its globals.

    `import xml.etree.ElementTree` binds only `xml`: importing that again in
    another process would not bring the rest.
    """
    packages = [
        value.__name__
        for name in global_names(code)
        if isinstance(value := namespace.get(name), ModuleType) and hasattr(value, "__path__")
    ]
    if not packages:
        return ()
    names = {name for part in _parts(code) for name in part.co_names}
    return tuple(
        module
        for module in list(sys.modules)
        for package in packages
        if module.startswith(package + ".")
        and names.issuperset(module[len(package) + 1 :].split("."))
    )


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)
