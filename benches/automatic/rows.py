"""The functions, and batches of about a second of each."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

noted: list[int] = []


def compute(limit: int) -> int:
    """Compute in Python."""
    total = 0
    for number in range(limit):
        total += number * number % 7
    return total


def hashed(data: bytes) -> bytes:
    """Compute in C, without the interpreter lock."""
    return hashlib.sha256(data).digest()


def wait(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def short(_: int) -> int:
    """Take about ten microseconds."""
    total = 0
    for number in range(330):
        total += number
    return total


def medium(_: int) -> int:
    """Take about a hundred microseconds."""
    total = 0
    for number in range(3300):
        total += number
    return total


def short_and_noted(number: int) -> int:
    """Do as `short`, and change something."""
    noted.append(number)
    return short(number)


def medium_and_noted(number: int) -> int:
    """Do as `medium`, and change something."""
    noted.append(number)
    return medium(number)


def trifle(number: int) -> int:
    """Do next to nothing."""
    return number


def trifle_and_noted(number: int) -> int:
    """Do next to nothing, and change something."""
    noted.append(number)
    return number


class Row(NamedTuple):
    """One batch."""

    name: str
    title: str
    fn: Callable[[Any], object]
    items: Sequence[Any]


ROWS = (
    Row("compute", "100 computations of 10 ms in Python", compute, [150_000] * 100),
    Row("medium", "10,000 computations of 100 µs in Python", medium, range(10_000)),
    Row("short", "100,000 computations of 10 µs in Python", short, range(100_000)),
    Row("hashing", "1,000 hashes of 1 MB in C", hashed, [os.urandom(1 << 20)] * 1000),
    Row("wait", "2,400 waits of 20 ms", wait, [0.02] * 2400),
    Row("short-kept", "100,000 calls of 10 µs that must stay", short_and_noted, range(100_000)),
    Row("medium-kept", "10,000 calls of 100 µs that must stay", medium_and_noted, range(10_000)),
)
