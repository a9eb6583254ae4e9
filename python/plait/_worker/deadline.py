"""The time that a process has."""

import os
import signal
import time
from types import FrameType

from plait._binding import native

__all__ = ["Deadline", "TimeUp"]


class TimeUp(BaseException):
    """Raised in a process whose time is up. No `except Exception` is to catch it."""


class Deadline:
    """Stops this process when its time is up: SIGTERM first, then SIGKILL.

    The kernel does it: it takes no other process, and no thread here.
    """

    def __init__(self, name: str, timeout: float | None, grace: float) -> None:
        """Count from here.

        Args:
            name: of the process, for the message.
            timeout: the seconds that it has; None: as many as it wants.
            grace: the seconds between the two signals.

        """
        self.begun = time.monotonic_ns()
        # Whether this has stopped what was run.
        self.is_up = False
        self._pid = os.getpid()
        self._name = name
        self._timeout = timeout
        if timeout is not None:
            signal.signal(signal.SIGTERM, self._on_signal)
            native.signal_after(signal.SIGTERM, timeout)
            native.signal_after(signal.SIGKILL, timeout + grace)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        assert self._timeout is not None
        elapsed = (time.monotonic_ns() - self.begun) / 1e9
        if elapsed >= self._timeout and not self.is_up and os.getpid() == self._pid:
            self.is_up = True
            raise TimeUp(f"{self._name} has run for its timeout of {self._timeout:g} s")
        # Somebody else's: it means what it always does.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
