"""What carrying a call to another process and back takes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

__all__ = ["Carriage", "weigh"]

#: Pickling is timed up to this often, and the fastest counts.
_ROUNDS = 3
#: Seconds after which once is enough.
_LONG = 0.02


@dataclass(frozen=True, slots=True)
class Carriage:
    """Size in bytes and time in seconds of the arguments and the result, there and back."""

    size: int
    seconds: float


def weigh(fn: Callable[..., Any], args: tuple[Any, ...], result: object) -> Carriage | str:
    """Pickle and unpickle what a call needs and gives.

    Returns:
        The size and the time of the arguments and the result; the function itself goes once to
        each worker and is not counted. If something cannot be carried, a clause that names it.
    """
    cargo = [("the function", fn), ("its result", result)]
    cargo[1:1] = [(f"argument {number}", arg) for number, arg in enumerate(args, 1)]
    for name, thing in cargo:
        try:
            _there_and_back(thing)
        except Exception as error:
            return f"{name} cannot be pickled ({_brief(error)})"
    best = Carriage(0, float("inf"))
    for _ in range(_ROUNDS):
        start = perf_counter()
        size = _there_and_back(args) + _there_and_back(result)
        seconds = perf_counter() - start
        best = min(best, Carriage(size, seconds), key=lambda carriage: carriage.seconds)
        if seconds > _LONG:
            break
    return best


def _dumps(thing: object) -> tuple[bytes, list[pickle.PickleBuffer]]:
    buffers: list[pickle.PickleBuffer] = []
    try:
        return pickle.dumps(thing, 5, buffer_callback=buffers.append), buffers
    except Exception:
        buffers.clear()
        return cloudpickle.dumps(thing, 5, buffer_callback=buffers.append), buffers


def _there_and_back(thing: object) -> int:
    data, buffers = _dumps(thing)
    pickle.loads(data, buffers=buffers)
    return len(data) + sum(buffer.raw().nbytes for buffer in buffers)


def _brief(error: BaseException) -> str:
    """`TypeError: cannot pickle 'generator' object`, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
