"""What the template imports before it forks, so that workers need not."""

import atexit
import importlib
import os
import traceback
import warnings
import weakref
from collections.abc import Iterable

__all__ = ["Unusable", "finish", "load", "threaded"]

# The finalizers of what preloaded modules have made.
_finalizers: "list[weakref.finalize[..., object]]" = []


class Unusable(Exception):
    """A module could not be imported; the text says which and why."""


def load(names: Iterable[str]) -> str | None:
    """Import modules.

    What they have made, a temporary directory say, is the template's: workers do not remove it
    when they end.

    Returns:
        The first after whose import there was more than one thread, if there was one.

    Raises:
        Unusable: one cannot be imported.

    """
    culprit = None
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            text = "".join(traceback.format_exception(error)).rstrip()
            summary = traceback.format_exception_only(error)[-1].strip()
            raise Unusable(f"cannot import {name!r} (preload): {summary}\n{text}") from None
        if culprit is None and _threads() > 1:
            culprit = name
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        if finalizer.atexit:
            finalizer.atexit = False
            _finalizers.append(finalizer)
    return culprit


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def threaded(culprit: str) -> None:
    """Warn that workers cannot be forked."""
    warnings.warn(
        f"the preloaded module {culprit!r} has started threads, which a fork would leave behind, "
        "with whatever locks they hold: each worker is executed anew instead, and imports what is "
        "preloaded itself. Leave the module out of preload=, or have it start no threads when it "
        "is imported",
        RuntimeWarning,
        stacklevel=1,
    )


def finish() -> None:
    """Clean up what was made here, when the template ends."""
    while _finalizers:
        _finalizers.pop()()
    atexit._run_exitfuncs()
