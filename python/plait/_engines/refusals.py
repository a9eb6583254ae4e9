"""What cannot be: functions and terms that a place has no way to serve, with the reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait._task import is_coroutine_function
from plait._terms import Away, Terms

if TYPE_CHECKING:
    from plait._terms import On

__all__ = ["check", "kind_of", "refusal"]


def check(fn: Callable[..., Any], terms: Terms, on: On | Away) -> None:
    """Refuse what cannot be.

    Raises:
        TypeError: such a function cannot run there.
        ValueError: one of the terms cannot be kept there.

    """
    refused = refusal(fn, terms, on)
    if refused is not None:
        raise refused


def refusal(fn: Callable[..., Any], terms: Terms, on: On | Away) -> Exception | None:
    """Make the exception that says why `fn` cannot run there on these terms; None if it can."""
    if isinstance(on, Away):
        # What it can do is known where it is; to submit it is refused by whoever looks for it.
        return None
    kind = kind_of(on)
    coroutine = is_coroutine_function(fn)
    if kind == "loop" and not coroutine:
        return TypeError(
            f"{_name(fn)} is no coroutine function: on the loop it would block everything else "
            "there; use on='thread' or on='process'"
        )
    if kind in ("thread", "foreign") and coroutine:
        where = "a thread" if kind == "thread" else f"a {type(on).__qualname__}"
        return TypeError(
            f"{_name(fn)} is a coroutine function, and {where} would only make a coroutine that "
            "nobody awaits; use on='loop' or on='process'"
        )
    if terms.timeout is not None and kind in ("serial", "foreign"):
        where = "in the calling thread" if kind == "serial" else f"by a {type(on).__qualname__}"
        return ValueError(
            f"a timeout cannot be kept for what is run {where}, which nobody can stop "
            f"({_name(fn)}, timeout={terms.timeout:g}); use on='thread' or on='process'"
        )
    if terms.capture and kind not in ("process", "auto"):
        return ValueError(
            f"what a task prints can be kept of processes alone ({_name(fn)}, capture=True); "
            "use on='process'"
        )
    return None


def kind_of(on: On) -> str:
    """Tell which engine a place is of: its own name, or what an executor is."""
    if isinstance(on, str):
        return on
    for kind, module, name in (
        ("thread", "plait._threads", "ThreadPoolExecutor"),
        ("process", "plait._processes", "ProcessPoolExecutor"),
    ):
        # Of a class that was never loaded there is no pool.
        ours: Any = getattr(sys.modules.get(module), name, None)
        # A subclass's own `submit` sees every call.
        if ours is not None and isinstance(on, ours) and type(on).submit is ours.submit:
            return kind
    return "foreign"


def _name(fn: Callable[..., Any]) -> str:
    from plait._pickling.outbound import describe

    return describe(fn)
