"""Saying what cannot be carried to a process, and what to do instead."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["clause", "parameter_names"]

# What pickle and plait call the thing they stumbled over.
_STUMBLED = re.compile(r"cannot pickle '?(?P<type>[\w.]+)")

_FILE = ("an open file", "pass its path instead")
_LOCK = ("a lock", "each process would have its own; keep what it guards in one place")
_SOCKET = ("a socket", "pass the address and connect there")
_CONNECTION = ("a connection", "pass what it connects to and connect there")
_CURSOR = ("a cursor of a connection", "pass the query and connect there")
# By the last part of the type's name, as `pickle` gives it.
_CURES = {
    **dict.fromkeys(
        ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"), _FILE
    ),
    **dict.fromkeys(("lock", "RLock", "Lock", "Condition", "Semaphore", "Event"), _LOCK),
    **dict.fromkeys(("socket", "SSLSocket"), _SOCKET),
    "SSLContext": ("a TLS context", "make it in the function"),
    **dict.fromkeys(("Connection", "connection"), _CONNECTION),
    **dict.fromkeys(("Cursor", "cursor"), _CURSOR),
    "module": ("a module", "import it in the function"),
    "generator": ("a generator", "pass a list of what it gives"),
    "async_generator": ("an asynchronous generator", "pass a list of what it gives"),
    "coroutine": ("a coroutine", "pass the function that makes it, and its arguments"),
    "Task": ("an asyncio task", "pass its result"),
    "Future": ("a future", "pass its result"),
    "mmap": ("a mapped file", "pass its path instead"),
    "frame": ("a stack frame", "pass what is needed of it"),
    "traceback": ("a traceback", "pass its text"),
    "_local": ("a thread's own variables", "pass their values"),
    "Thread": ("a thread", "pass what it works on"),
    "weakref": ("a weak reference", "pass the object itself"),
    "ReferenceType": ("a weak reference", "pass the object itself"),
    "Popen": ("a running program", "pass its command"),
    "StringIO": ("a text buffer", "pass its text"),
}


def parameter_names(fn: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """Return what the function calls each of its arguments, or else their numbers."""
    numbered = [f"argument {number}" for number in range(1, len(args) + 1)]
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return numbered
    names = list(numbered)
    for place, parameter in enumerate(parameters[: len(args)]):
        if parameter.kind is parameter.VAR_POSITIONAL:
            for rest in range(place, len(args)):
                names[rest] = f"*{parameter.name}"
            break
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            break
        names[place] = parameter.name
    return names


def clause(what: str, name: str | None, thing: object, error: Exception) -> str:
    """Say what cannot be pickled, what it is, and what to do instead.

    Args:
        what: `"function"`, `"argument"` or `"result"`.
        name: What the function calls it; None for a function and a result.
        thing: The thing itself.
        error: What pickling it raised.
    """
    culprit = _culprit(thing, error)
    kind, cure = _CURES.get(culprit or "", (None, None))
    whole = type(thing).__name__
    inner = culprit != whole and what != "function"
    if kind is None:
        text = " ".join(str(error).split())
        told = f" ({type(error).__name__}: {text})" if text else f" ({type(error).__name__})"
        named = f": `{name}`" if name else ""
        article = "" if what == "function" else f", {_article(whole)}"
        return f"its {what} cannot be pickled{named}{article if named else ''}{told}"
    if what == "function":
        return f"the function cannot be pickled: it needs {kind}; {cure}"
    named = f"`{name}`" if name else ""
    held = f"{named}{', ' if named else ''}{_article(whole)} with {kind} in it" if inner else ""
    if not held:
        held = f"{named}, {kind}" if named else kind
    return f"its {what} cannot be pickled: {held}; {cure}"


def _culprit(thing: object, error: Exception) -> str | None:
    """Return the name of the type that is at fault; None if it cannot be found out."""
    for known in type(thing).__mro__:
        # A class of the user's own may have any name.
        standard = known.__module__.partition(".")[0] in (*sys.stdlib_module_names, "plait")
        if known.__name__ in _CURES and standard:
            return known.__name__
    found = _STUMBLED.search(str(error))
    return found["type"].rpartition(".")[2] if found else None


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
