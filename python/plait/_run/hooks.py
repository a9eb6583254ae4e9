"""Exceptions that the interpreter itself reports: they are lost, and were said."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from plait import _lost

if TYPE_CHECKING:
    from types import CoroutineType

__all__ = ["watch"]


def watch() -> None:
    """Count what threads and finalisers raise, and report coroutines that nobody awaits."""
    threading.excepthook = _of_thread
    sys.unraisablehook = _unraisable
    # So a coroutine knows where it was made.
    sys.set_coroutine_origin_tracking_depth(1)
    vars(warnings)["_warn_unawaited_coroutine"] = _never_awaited


def _showing() -> list[Any]:
    return [vars(warnings).get(name) for name in ("showwarning", "_showwarnmsg_impl")]


_standard_showing = _showing()


def _of_thread(args: threading.ExceptHookArgs) -> None:
    # A thread that ends itself by SystemExit has lost nothing.
    if args.exc_type is not SystemExit:
        _lost.note()
    threading.__excepthook__(args)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    _lost.note()
    sys.__unraisablehook__(args)


def _never_awaited(coroutine: CoroutineType[Any, Any, Any]) -> None:
    """Stand for what warns of a coroutine that was never awaited."""
    name = coroutine.__qualname__
    text = f"coroutine '{name}' was never awaited"
    if _showing() != _standard_showing:
        # Somebody else takes warnings: a test, or `logging.captureWarnings`.
        _lost.note()
        warnings.warn(text, RuntimeWarning, stacklevel=2, source=coroutine)
        return
    origin = coroutine.cr_origin
    file, line = origin[0][:2] if origin else (None, None)
    _lost.report(RuntimeWarning(text), name, file, line)
