"""What carrying a call to another process and back takes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from plait._measure.uncarried import clause, parameter_names
from plait._pickling.outbound import Outbound
from plait._pickling.pickler import dumps

__all__ = ["Carriage", "pickled", "weigh"]

#: Pickling is timed up to this often, and the fastest counts.
_ROUNDS = 5
#: Seconds after which once is enough.
_LONG = 0.02


@dataclass(frozen=True, slots=True)
class Carriage:
    """Sizes in bytes of the pickled arguments and result; seconds for both, there and back.

    The seconds are those beyond what pickling nothing takes.
    """

    argument_bytes: int
    result_bytes: int
    seconds: float

    @property
    def size(self) -> int:
        return self.argument_bytes + self.result_bytes


def weigh(fn: Callable[..., Any], args: tuple[Any, ...], result: object) -> Carriage | str:
    """Pickle and unpickle what a call needs and gives, as the process pool does.

    Returns:
        The sizes and the time of the arguments and the result; the function itself goes once to
        each worker and is not counted. If something cannot be carried, a clause that names it.
    """
    named: str | None = None
    thing: object = fn
    what = "function"
    try:
        # With the globals of `__main__` that it uses, which go with it.
        Outbound().encode(fn, (), {})
        what = "argument"
        for name, arg in zip(parameter_names(fn, args), args, strict=True):
            named, thing = name, arg
            pickled(arg)
        what, named, thing = "result", None, result
        pickled(result)
    except Exception as error:
        return clause(what, named, thing, error)
    best = Carriage(0, 0, float("inf"))
    for _ in range(_ROUNDS):
        there, back = pickled(args), pickled(result)
        seconds = there.seconds + back.seconds
        # What pickling nothing takes is in the price of the hand-out.
        nothing = 2 * pickled(()).seconds
        weight = Carriage(there.size, back.size, max(0.0, seconds - nothing))
        best = min(best, weight, key=lambda carriage: carriage.seconds)
        if seconds > _LONG:
            break
    return best


class _Scale:
    """What is pickled to it is kept as it comes: large pieces are not copied.

    In a pool they go straight to the memory that is shared, and copying them there has a price of
    its own (`Overheads.byte`).
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.buffers: list[pickle.PickleBuffer] = []

    def write(self, data: bytes) -> int:
        self.parts.append(data)
        return len(data)

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        self.buffers.append(buffer)
        return False

    def clear(self) -> None:
        self.parts.clear()
        self.buffers.clear()

    def mention(self, image: int) -> None:
        """Nothing: what is mentioned is there already."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """Size in bytes, and seconds to pickle and unpickle."""

    size: int
    seconds: float


def pickled(thing: object) -> Pickled:
    """Pickle and unpickle something."""
    scale: Any = _Scale()
    start = perf_counter()
    dumps(thing, scale)
    dumped = perf_counter() - start
    data = b"".join(scale.parts)
    start = perf_counter()
    pickle.loads(data, buffers=scale.buffers)
    loaded = perf_counter() - start
    raw = sum(buffer.raw().nbytes for buffer in scale.buffers)
    return Pickled(len(data) + raw, dumped + loaded)
