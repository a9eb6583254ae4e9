"""Which code is the program's own: not the standard library's, not an installed package's."""

from __future__ import annotations

import inspect
import os
import site
import sys
import sysconfig
from types import CodeType

__all__ = ["Own"]

#: Code of these is not called as a function is, and cannot be handed out.
_OTHER = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _installed() -> tuple[str, ...]:
    """Return the folders of what is not the program's own."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    found = {os.path.realpath(path) for path in paths if path}
    # Debian's, beside the standard library.
    found |= {os.path.join(path, "dist-packages") for path in sys.path if path}
    return tuple(path + os.sep for path in found)


_INSTALLED = _installed()


class Own:
    """Tells code that it has seen by its `id`: to hash code is slow."""

    def __init__(self) -> None:
        self._codes: dict[int, tuple[CodeType, bool]] = {}
        self._files: dict[str, bool] = {}

    def has(self, code: CodeType) -> bool:
        """Tell whether it is the code of a function or coroutine function of the program's own."""
        known = self._codes.get(id(code))
        if known is None:
            # The code is kept: its `id` is not used again.
            known = self._codes[id(code)] = (code, self._is_own(code))
        return known[1]

    def _is_own(self, code: CodeType) -> bool:
        if code.co_flags & _OTHER or (code.co_name[:1] == "<" and code.co_name != "<lambda>"):
            return False
        name = code.co_filename
        own = self._files.get(name)
        if own is None:
            # What has no file (`<string>`, `<frozen ...>`) was made by somebody's machinery.
            own = name[:1] != "<" and not os.path.realpath(name).startswith(_INSTALLED)
            self._files[name] = own
        return own
