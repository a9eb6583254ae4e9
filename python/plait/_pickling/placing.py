"""Whether an object is found by name, and where."""

import sys
from types import ModuleType
from typing import Any, Final, NamedTuple

__all__ = ["BY_IMPORT", "BY_VALUE", "Key", "is_importable", "module_of_globals", "place"]


class Key(NamedTuple):
    """A global of a module that workers cannot import."""

    module: str
    name: str


# A worker finds it by importing its module.
BY_IMPORT: Final = "import"
# No name leads to it.
BY_VALUE: Final = "value"

_importable: dict[str, tuple[ModuleType, bool]] = {}


def place(obj: Any) -> Key | str:
    """Tell how `obj`, which says its module and qualified name, is to be sent.

    Returns:
        `BY_IMPORT`, `BY_VALUE`, or the key of the global that leads to it.

    """
    module_name = getattr(obj, "__module__", None)
    qualname = getattr(obj, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(qualname, str):
        return BY_VALUE
    module = sys.modules.get(module_name)
    if module is None:
        return BY_VALUE
    found: Any = module
    names = qualname.split(".")
    for name in names:
        # `<locals>` and `<lambda>` are no attributes.
        found = getattr(found, name, None)
    if found is not obj:
        return BY_VALUE
    return BY_IMPORT if is_importable(module_name) else Key(module_name, names[0])


def is_importable(name: str) -> bool:
    """Whether a new process with the same path would import this very module."""
    module = sys.modules.get(name)
    if module is None:
        return False
    known = _importable.get(name)
    if known is None or known[0] is not module:
        known = _importable[name] = (module, _find_again(name, module))
    return known[1]


def _find_again(name: str, module: ModuleType) -> bool:
    if name == "__main__":
        return False
    parent, _, _ = name.rpartition(".")
    spec = getattr(module, "__spec__", None)
    if spec is None:
        # Made by hand, or by the package that it lies in.
        return bool(parent) and is_importable(parent)
    path = None
    if parent:
        if not is_importable(parent):
            return False
        path = getattr(sys.modules[parent], "__path__", None)
        if path is None:
            return True  # made by its parent, which is no package: os.path
    for finder in sys.meta_path:
        found = finder.find_spec(name, path)
        if found is not None:
            return bool(found.origin == spec.origin)
    # A package can make modules that no finder finds.
    return bool(parent)


def module_of_globals(namespace: dict[str, Any]) -> str | None:
    """Name the module whose globals these are; None for a dict of its own."""
    name = namespace.get("__name__")
    if isinstance(name, str):
        module = sys.modules.get(name)
        if module is not None and getattr(module, "__dict__", None) is namespace:
            return name
    return None
