"""What one task writes to standard output and standard error, kept for its future."""

import marshal
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

from plait._binding import native
from plait._worker import stopping

__all__ = ["MOST", "capturing"]

# Of what is longer, the end is kept.
MOST = 64 << 20


def capturing(
    function: Callable[..., Any], channel: native.Worker, *, several: bool
) -> Callable[..., Any]:
    """Return a function that calls another, and sends what is written meanwhile.

    The file descriptors 1 and 2 are others for that time, so what C code and subprocesses write is
    caught too. Not caught is what is written to streams that are not made of them.

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


class _Caught:
    """Two files in the place of standard output and standard error."""

    def __init__(self, channel: native.Worker) -> None:
        self._channel = channel
        # Whether there is more to come, so that it is not sent yet.
        self.goes_on = False
        self.texts: list[bytes] = []
        self._kept: list[tuple[int, int, int]] = []

    def __enter__(self) -> None:
        _flush()
        for fd in (1, 2):
            self._kept.append((fd, os.dup(fd), os.memfd_create("plait-output")))
        for fd, _, file in self._kept:
            os.dup2(file, fd)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A task that is stopped in here must leave the descriptors as they were. Blocking the
        # signal lets one that has arrived raise first.
        stopped = None
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        except stopping.Stopped as caught:
            stopped = caught
        try:
            _flush()
            for fd, original, file in self._kept:
                os.dup2(original, fd)
                size = os.fstat(file).st_size
                self.texts.append(os.pread(file, MOST, max(0, size - MOST)))
                os.close(original)
                os.close(file)
            if not self.goes_on:
                self._channel.say_output(marshal.dumps(self.texts))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        if stopped is not None:
            raise stopped


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # One that is closed, or replaced by something odd, has nothing for us.
        with suppress(Exception):
            stream.flush()
