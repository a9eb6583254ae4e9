"""Reading an input that may be slow, or raise."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

__all__ = ["READING", "read_some"]

# An input that is slow must not keep its reader from results that are there:
# so long is read on, in seconds.
READING = 1e-3
# How often the clock is looked at in a chunk.
_STEPS = 64


def read_some(
    items: Iterator[Any], count: int, begun: float, *, whole: bool
) -> tuple[list[Any], Exception | None, bool]:
    """Read `count` items, or fewer if it takes long.

    Args:
        items: the input.
        count: how many to read.
        begun: when, on `time.perf_counter`.
        whole: whether to read so many however long it takes.

    Returns:
        The items, what the input raised, and whether it has ended.

    """
    read: list[Any] = []
    # The clock is looked at from time to time only.
    step = count if whole else max(1, count // _STEPS)
    try:
        while len(read) < count:
            wanted = min(len(read) + step, count)
            # Keeps what came before an exception.
            read.extend(islice(items, wanted - len(read)))
            if len(read) < wanted:
                return read, None, True
            if step < count and time.perf_counter() - begun > READING:
                break
    except Exception as error:
        return read, error, True
    return read, None, False
