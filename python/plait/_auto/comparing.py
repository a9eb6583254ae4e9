"""Arguments before and after a call: a pickle of each, for what no code tells.

Small pickles are compared as they are, the buffers of large arrays by a checksum of 64 bits. What
nobody can change (`fixed.py`) is not pickled for this.
"""

from __future__ import annotations

import functools
import operator
import time
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from plait._auto.fixed import are_plain, is_fixed
from plait._binding import native
from plait._pickling.pickler import dumps
from plait._pickling.shared import is_handed_over

__all__ = ["NUMBER", "Arguments", "Scale", "parts_of"]

#: Seconds to pickle and unpickle a number.
NUMBER = 4e-7
# Bytes of its pickle, and which are numbers: integers of so many bits at most as well.
_NUMBER_SIZE, _BITS, _SMALL = 16, 64, frozenset({float, complex, bool, type(None)})
# Seconds a byte to make a large object of its pickle: memory that is written for the first time.
# Pickling it copies nothing. Measured for 1 to 100 MB.
_MAKING = 5e-10
# As much of a pickle is kept as it is; of the rest, its checksum.
_KEPT = 1 << 16
# What is written at once and larger is no frame of small objects but one object.
_ONE = 1 << 18
# So many bytes of small objects are pickled for a look: that takes about 50 ms.
_MOST = 16 << 20
# So many seconds may objects compute that say themselves how they are pickled, and so many may it
# take in all: they may wait, but this thread may just as well wait for its turn.
_COMPUTING, _LONG = 0.25, 1.0
# So many elements of a result are looked at.
_LOOKED = 1000


class TooMuch(Exception):
    """Pickling it is more than a look is worth."""


class Scale:
    """Takes in a pickle, as a packer does, and keeps its size."""

    def __init__(self) -> None:
        """Have nothing."""
        self.size = 0
        self._small = self._large = 0
        # When the first object was asked how it is pickled: by the clock, by this thread's clock.
        self._begun: tuple[float, float] | None = None

    def weigh(self, value: Any) -> None:
        """Pickle a value.

        Raises:
            TooMuch: there are too many small objects in it, or it takes too long.
            Exception: it cannot be pickled.

        """
        packer: Any = self
        dumps(value, packer, watch=self.watch)
        if self._begun is not None:
            # What took long may have been the last.
            self._check()

    def watch(self, obj: Any) -> None:
        """Look at an object that is about to be pickled, and at the clocks."""
        if is_handed_over(obj):
            kind = type(obj).__qualname__
            raise TooMuch(f"a look at a {kind} would hand it to another process")
        self._check()

    def _check(self) -> None:
        now = time.perf_counter(), time.thread_time()
        if self._begun is None:
            self._begun = now
        elif now[0] > self._begun[0] + _LONG or now[1] > self._begun[1] + _COMPUTING:
            raise TooMuch("pickling takes too long")

    def write(self, data: Any) -> int:
        """Take in a part."""
        size = len(data)
        self.size += size
        if size >= _ONE:
            self._large += size
        else:
            self._small += size
            if self._small > _MOST:
                raise TooMuch("it has more than 16 MB of small objects")
        return size

    def buffer(self, buffer: Any) -> bool:
        """Take in a buffer that travels beside the pickle."""
        with buffer.raw() as raw:
            self.size += raw.nbytes
        return False

    def clear(self) -> None:
        """Begin again."""
        self.size = self._small = self._large = 0

    def both(self, seconds: float) -> float:
        """Tell how long pickling and unpickling takes, of which pickling took so many seconds."""
        return 2 * seconds + _MAKING * self._large


class _Trace(Scale):
    """Keeps what tells a pickle from another."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[bytes] = []
        self._sums: list[int] = []

    def write(self, data: Any) -> int:
        size = super().write(data)
        if type(data) is bytes and size >= _ONE:
            # An object of the user's, which nobody can change.
            self._sums.append(size)
        elif self.size <= _KEPT:
            self._kept.append(bytes(data))
        else:
            self._sums.append(self._sum(data))
        return size

    def buffer(self, buffer: Any) -> bool:
        with buffer.raw() as raw:
            self.size += raw.nbytes
            # Of what cannot be written to, the size is as good.
            self._sums.append(raw.nbytes if raw.readonly else self._sum(raw))
        return False

    def _sum(self, data: Any) -> int:
        begun = time.perf_counter(), time.thread_time()
        found = native.checksum(data)
        if self._begun is not None:
            # That is no time of the objects'.
            wall = self._begun[0] + time.perf_counter() - begun[0]
            self._begun = wall, self._begun[1] + time.thread_time() - begun[1]
        return found

    def clear(self) -> None:
        super().clear()
        self._kept.clear()
        self._sums.clear()

    def found(self) -> object:
        return b"".join(self._kept), self._sums, self.size


class Arguments:
    """The arguments of a call, as they were before it.

    Attributes:
        size: Bytes of their pickle.
        seconds: How long pickling and unpickling them takes, beyond what nothing takes.
        problem: Why they cannot be pickled, as a clause; None if they can.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Look at them."""
        self._call = args, dict(kwargs)
        self.problem: str | None = None
        values = (*args, *kwargs.values())
        if _are_small_numbers(values):
            # Known without a pickle, which takes half a millisecond once the caches are cold.
            self._fixed = True
            self._before: object = [(type(value), repr(value)) for value in values], [*kwargs]
            self.size, self.seconds = _NUMBER_SIZE * len(values), NUMBER * len(values)
            return
        self._fixed = all(map(is_fixed, values))
        begun = time.perf_counter()
        trace = self._trace()
        took = trace.both(max(0.0, time.perf_counter() - begun - _of_nothing()))
        self._before, self.size = trace.found(), trace.size
        # A figure of a microsecond is worth less than a known one.
        numbers = are_plain(values) and not any(type(value) in (str, bytes) for value in values)
        self.seconds = NUMBER * len(values) if numbers else took

    def _trace(self) -> _Trace:
        trace = _Trace()
        try:
            trace.weigh(self._call)
        except Exception as error:
            self.problem = _problem(self._call, error)
        return trace

    @property
    def is_unseen(self) -> bool:
        """Whether a change could not be seen: they can change, and cannot be pickled."""
        return self.problem is not None and not self._fixed

    def have_changed(self) -> bool:
        """Whether they are others now."""
        if self._fixed or self.problem is not None:
            return False
        before, problem = self._before, self.problem
        after = self._trace().found()
        return after != before or self.problem != problem

    def differ_from(self, others: Arguments) -> bool:
        """Whether they are others than those were, or those have changed since they were these."""
        if others.problem is not None:
            # All that there is cannot be changed; but others can be in their places.
            return any(map(operator.is_not, self._call[0], others._call[0]))
        return self._before != others._before or self.problem != others.problem

    def contain(self, result: Any) -> bool:
        """Whether what a call has returned is, or has in it, what it was given."""
        args, kwargs = self._call
        given = {
            id(part)
            for value in (*args, *kwargs.values())
            if not is_fixed(value)
            for part in parts_of(value, 2, _LOOKED)
        }
        if not given or is_fixed(result):
            return False
        return any(id(part) in given for part in parts_of(result, 1, _LOOKED))


@functools.cache
def _of_nothing() -> float:
    """Return how many seconds it takes to pickle the arguments of a call that has none."""

    def once() -> float:
        begun = time.perf_counter()
        _Trace().weigh(((), {}))
        return time.perf_counter() - begun

    return min(once() for _ in range(5))


def parts_of(value: Any, deep: int, wide: int) -> list[Any]:
    """List a value and what is in it, as far as it can be changed.

    Args:
        value: is listed first.
        deep: how many levels of what is in it are.
        wide: how many parts of each level are looked at.

    """
    found = [value]
    level = found
    for _ in range(deep):
        inner: list[Any] = []
        for part in level:
            if len(inner) >= wide:
                break
            if isinstance(part, dict):
                inner += islice(part.values(), wide)
            elif isinstance(part, list | tuple | set | frozenset | deque):
                inner += islice(part, wide)
            else:
                inner += islice(_attributes(part).values(), wide)
        level = [part for part in inner[:wide] if not is_fixed(part)]
        found += level
    return found


def _attributes(value: Any) -> dict[str, Any]:
    try:
        found = vars(value)
    except TypeError:
        return {}
    return found if type(found) is dict else {}


def _are_small_numbers(values: tuple[Any, ...]) -> bool:
    """Whether there are none but numbers that are written down at once."""
    return all(
        type(value) in _SMALL or (type(value) is int and value.bit_length() <= _BITS)
        for value in values
    )


def _problem(call: tuple[tuple[Any, ...], Mapping[str, Any]], error: Exception) -> str:
    """Say which argument cannot be pickled, and why."""
    if isinstance(error, TooMuch):
        # Looking for the one that is to blame would take as long again.
        return f"its arguments cannot be looked into ({error})"
    args, kwargs = call
    parts = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    parts += [(f"argument `{name}`", value) for name, value in kwargs.items()]
    for name, value in parts:
        try:
            _Trace().weigh(value)
        except Exception as found:
            error = found
            kind = type(value).__qualname__
            return f"its {name}, of type {kind}, cannot be pickled ({_text(error)})"
    return f"its arguments cannot be pickled ({_text(error)})"


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
