"""What one task writes to standard output and standard error, kept for its future."""

import marshal
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from plait._binding import native
from plait._worker.redirecting import Redirected

__all__ = ["MOST", "capturing"]

# Of what is longer, the end is kept.
MOST = 64 << 20


def capturing(
    function: Callable[..., Any], channel: native.Worker, *, several: bool
) -> Callable[..., Any]:
    """Return a function that calls another, and sends what is written meanwhile.

    Args:
        function: what to call.
        channel: the worker's.
        several: whether it returns coroutines that run beside others; see `recording`.

    """
    return partial(_begin if several else _call, function, channel)


def _call(
    function: Callable[..., Any], channel: native.Worker, /, *args: Any, **kwargs: Any
) -> Any:
    with _Caught(channel):
        value = function(*args, **kwargs)
        if not isinstance(value, Coroutine):
            return value
        from plait._worker.coroutines import run

        well, value = run(value)
        if well:
            return value
        raise value


def _begin(
    function: Callable[..., Any], channel: native.Worker, /, *args: Any, **kwargs: Any
) -> Any:
    caught = _Caught(channel)
    with caught:
        value = function(*args, **kwargs)
        caught.goes_on = isinstance(value, Coroutine)
    if not caught.goes_on:
        return value
    from plait._worker.recording import Recorded

    return Recorded(value, caught.texts)


class _Caught(Redirected):
    """Two files in the place of standard output and standard error."""

    def __init__(self, channel: native.Worker) -> None:
        super().__init__()
        self._channel = channel
        # Whether there is more to come, so that it is not sent yet.
        self.goes_on = False
        self.texts: list[bytes] = []

    def open(self, fd: int) -> int:
        """Make a file in memory."""
        return os.memfd_create("plait-output")

    def restored(self) -> None:
        """Send what has been written."""
        for _, _, file in self._kept:
            size = os.fstat(file).st_size
            self.texts.append(os.pread(file, MOST, max(0, size - MOST)))
        if not self.goes_on:
            self._channel.say_output(marshal.dumps(self.texts))
