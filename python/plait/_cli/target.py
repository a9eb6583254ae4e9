"""Finding the function that a command line names, and reading its arguments."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from plait._cli.terminal import Mistake

__all__ = ["arguments", "function"]


def function(target: str) -> Callable[..., Any]:
    """Import what `MODULE:FUNCTION` names; the function may be dotted (`Class.method`).

    Raises:
        Mistake: There is no such thing, or it cannot be called.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path) or module_name.startswith("."):
        raise Mistake(f"{target!r} is not of the form MODULE:FUNCTION, as in json:dumps")
    found = _module(module_name)
    walked = module_name
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            what = "module " if walked == module_name else ""
            raise Mistake(f"{what}{walked!r} has no function {name!r}") from None
        walked = f"{walked}{':' if walked == module_name else '.'}{name}"
    if not callable(found):
        raise Mistake(f"{target!r} is not callable: it is {_kind(found)}")
    function: Callable[..., Any] = found
    return function


def _kind(thing: object) -> str:
    name = type(thing).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _module(name: str) -> Any:
    # As with `python -m`, what lies here can be imported, unless Python was
    # told not to (`-P`, `PYTHONSAFEPATH`).
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and f"{name}.".startswith(f"{missing}."):
            raise Mistake(f"there is no module {missing!r}") from None
        raise Mistake(_why(name, error)) from None
    except (Exception, SystemExit) as error:
        # The program of somebody else: whatever it does at import is to be told.
        raise Mistake(_why(name, error)) from None


def _why(name: str, error: BaseException) -> str:
    """Say in one line what went wrong in which line of a module's import."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib") and frame.filename != __file__
    ]
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError) or not frames:
        return f"module {name!r} cannot be imported: {what}"
    where = f"{os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno}"
    return f"module {name!r} cannot be imported: {what} ({where})"


def arguments(text: str) -> list[Any]:
    """Read the arguments of a call from a JSON list.

    Raises:
        Mistake: It is not JSON, or not a list.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Mistake(f"--args is not valid JSON: {error.msg} at {where}: {text}") from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets.
        raise Mistake(f"--args is beyond what can be read: {error}") from None
    if not isinstance(found, list):
        raise Mistake(f"--args must be a JSON list, as in '[30000]', not {_json_kind(found)}")
    return found


def _json_kind(thing: object) -> str:
    names = {bool: "a boolean", dict: "an object", str: "a string", type(None): "null"}
    return names.get(type(thing), "a number")
