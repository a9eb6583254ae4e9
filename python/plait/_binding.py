"""The one place that imports the native module."""

import os
import warnings

from plait import _native as native

__all__ = ["DebugBuildWarning", "native"]


class DebugBuildWarning(RuntimeWarning):
    """The native module is a debug build: many times slower than what `pip` installs."""


def _warn_of_debug_build(debug_build: bool) -> None:
    if debug_build and not os.environ.get("PLAIT_ALLOW_DEBUG"):
        warnings.warn(
            "plait's native module is a debug build: correct, but slow, not to be measured; "
            "`pip install .` makes an optimised one (PLAIT_ALLOW_DEBUG=1 silences this)",
            DebugBuildWarning,
            stacklevel=4,
        )


_warn_of_debug_build(native.DEBUG_BUILD)
