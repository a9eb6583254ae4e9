"""What carrying something to a process would take, tried within bounds."""

from __future__ import annotations

import pickle
from time import perf_counter
from types import CodeType, FrameType

from plait._binding import native
from plait._measure.uncarried import clause
from plait._pickling.pickler import dumps
from plait._which.record import Carried

__all__ = ["arguments_of", "carry"]

#: Bytes and seconds after which it is known that carrying it is expensive.
_MOST = 64_000_000
_LONG = 0.25
# `CO_VARARGS` and `CO_VARKEYWORDS`.
_STARS = (0x04, 0x08)


class _Enough(BaseException):
    """Not an `Exception`: no `__reduce__` of the program's may catch it."""


class _Bounded:
    """A file that counts, and has enough at some point."""

    def __init__(self) -> None:
        self.size = 0
        self._until = perf_counter() + _LONG

    def write(self, data: bytes) -> int:
        self._count(len(data))
        return len(data)

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer out of band: it is not copied."""
        self._count(buffer.raw().nbytes)
        return False

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > _MOST or perf_counter() > self._until:
            raise _Enough


def carry(carried: Carried, what: str, things: dict[str, object]) -> None:
    """Note what carrying these things takes; they are pickled, and not unpickled.

    Args:
        carried: Where it is noted.
        what: `"argument"` or `"result"`.
        things: The things by their names; `""` for one without.
    """
    start, size = perf_counter(), 0
    for name, thing in things.items():
        try:
            size += _size(thing)
        except Exception as error:
            carried.problem = clause(what, name or None, thing, error)
            return
    # Unpickling takes about as long, and would run more of the program's code.
    carried.add(size, 2 * (perf_counter() - start))


def _size(thing: object) -> int:
    file = _Bounded()
    try:
        pickle.Pickler(file, 5, buffer_callback=file.buffer).dump(thing)
    except _Enough:
        pass
    except Exception:
        # plait carries some things that plain pickle refuses.
        packer = native.Packer()
        dumps(thing, packer)
        return len(packer.getvalue())
    return file.size


def arguments_of(code: CodeType, frame: FrameType) -> dict[str, object]:
    """Return the arguments of a call that has just begun, by name."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += sum(1 for flag in _STARS if code.co_flags & flag)
    values = frame.f_locals
    return {name: values[name] for name in code.co_varnames[:count] if name in values}
