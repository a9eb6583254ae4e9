"""The worker's side of `map`: one call for many items."""

import time
from collections.abc import Callable
from itertools import starmap
from typing import Any

from plait._binding import native
from plait._pickling.results import encode_failure, encode_value, forget_our_frame, unpicklable
from plait._worker.stopping import Stopped

__all__ = ["AS_POOL", "AWAITED", "CHUNK", "GO_ON", "STARRED", "Reply", "run_chunk", "salvage"]

# Set in the number of a task's function: the arguments are those of `run_chunk`.
CHUNK = 1 << 63

# How a chunk is to be run: each item is a tuple of arguments ...
STARRED = 1
# ... and what one raises does not keep the rest from being run.
GO_ON = 2
# The function is a coroutine function.
AWAITED = 4
# What cannot be pickled is told as `multiprocessing.Pool` does.
AS_POOL = 8

# Seconds, what the items returned, and by place what some of them raised, as
# `run_chunk` was told to keep it. In the place of these there is None, or the
# end if nothing was run after them.
Reply = tuple[float, list[Any], dict[int, Any]]


def run_chunk(
    fn: Callable[..., Any],
    mode: int,
    items: list[Any],
    keep: Callable[[BaseException], Any] = encode_failure,
) -> Reply:
    """Call `fn` for each item; `keep` makes of an exception what is kept of it."""
    begun = time.perf_counter()
    if fn.__class__.__module__ == "plait._auto.guarding":
        # Once for all items, and it refuses them all.
        fn = fn.checked()  # type: ignore[attr-defined]
    if mode & AWAITED:
        fn = _awaited(fn)
    values: list[Any] = []
    failures: dict[int, Any] = {}
    results = starmap(fn, items) if mode & STARRED else map(fn, items)
    while True:
        try:
            # Keeps what came before an exception.
            values.extend(results)
            if len(values) == len(items):
                break
            # What ends an iteration does so here, and is gone.
            raise StopIteration
        except Stopped:
            raise
        except BaseException as error:
            forget_our_frame(error)
            failures[len(values)] = keep(error)
        if not mode & GO_ON:
            break
        values.append(None)
    return time.perf_counter() - begun, values, failures


def _awaited(fn: Callable[..., Any]) -> Callable[..., Any]:
    from plait._worker.coroutines import run  # brings asyncio along

    def call(*args: Any) -> Any:
        well, value = run(fn(*args))
        if not well:
            raise value
        return value

    return call


def salvage(mode: int, reply: Reply) -> Reply:
    """Put failures in the place of what cannot be pickled."""
    seconds, values, failures = reply
    for place, value in enumerate(values):
        try:
            encode_value(value, native.Packer())
        except BaseException as error:
            told = unpicklable(value, error, as_pool=bool(mode & AS_POOL))
            failure = encode_failure(told)
            if not mode & GO_ON:
                return seconds, values[:place], {place: failure}
            values[place] = None
            failures[place] = failure
    return seconds, values, failures
