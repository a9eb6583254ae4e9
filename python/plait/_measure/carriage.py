"""What carrying a call to another process and back takes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from plait._binding import native
from plait._pickling.outbound import Outbound
from plait._pickling.pickler import dumps

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
    """Pickle and unpickle what a call needs and gives, as the process pool does.

    Returns:
        The size and the time of the arguments and the result; the function itself goes once to
        each worker and is not counted. If something cannot be carried, a clause that names it.
    """
    named = "the function"
    try:
        # With the globals of `__main__` that it uses, which go with it.
        Outbound().encode(fn, (), {})
        for number, arg in enumerate(args, 1):
            named = f"argument {number}"
            _there_and_back(arg)
        named = "its result"
        _there_and_back(result)
    except Exception as error:
        text = " ".join(str(error).split())
        return f"{named} cannot be pickled ({type(error).__name__}: {text})"
    best = Carriage(0, float("inf"))
    for _ in range(_ROUNDS):
        start = perf_counter()
        size = _there_and_back(args) + _there_and_back(result)
        seconds = perf_counter() - start
        best = min(best, Carriage(size, seconds), key=lambda carriage: carriage.seconds)
        if seconds > _LONG:
            break
    return best


def _there_and_back(thing: object) -> int:
    packer = native.Packer()
    dumps(thing, packer)
    data = packer.getvalue()
    pickle.loads(data)
    return len(data)
