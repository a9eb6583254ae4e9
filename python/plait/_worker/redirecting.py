"""Other files in the place of standard output and standard error, for as long as a task runs."""

import os
import signal
import sys
from contextlib import suppress
from types import TracebackType

from plait._worker import stopping

__all__ = ["Redirected"]


class Redirected:
    """Has what is written to the file descriptors 1 and 2 go to files.

    So what C code and subprocesses write is caught, too. Not caught is what is written to streams
    that are not made of them.
    """

    def __init__(self) -> None:
        """Redirect nothing yet."""
        # Of each descriptor: it, a duplicate of what it was, and the file.
        self._kept: list[tuple[int, int, int]] = []

    def open(self, fd: int) -> int:
        """Return a descriptor of the file for what is written to `fd`."""
        raise NotImplementedError

    def restored(self) -> None:
        """Do what is to be done when everything is as it was; the files are still open."""

    def __enter__(self) -> None:
        try:
            _flush()
            for fd in (1, 2):
                self._kept.append((fd, os.dup(fd), self.open(fd)))
            for fd, _, file in self._kept:
                os.dup2(file, fd)
        except BaseException:
            # The task is stopped, or there are no more descriptors.
            self.__exit__(None, None, None)
            raise

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
            for fd, original, _ in self._kept:
                os.dup2(original, fd)
                os.close(original)
            try:
                self.restored()
            finally:
                for _, _, file in self._kept:
                    os.close(file)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        if stopped is not None:
            raise stopped


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # One that is closed, or replaced by something odd, has nothing for us.
        with suppress(Exception):
            stream.flush()
