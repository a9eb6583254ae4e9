"""Handles of worker processes, for programs that look into the standard pools.

The standard executor keeps its `multiprocessing.Process` objects in
`_processes`, the standard pool in `_pool`; programs kill hung workers with
them, and monitors list them.
"""

import os
import select
import signal
import time
from contextlib import suppress

from plait._binding import native

__all__ = ["WorkerProcess"]

# How long an end may take to be told, in seconds: longer than the pool waits for it.
_TELLING = 5.0


class WorkerProcess:
    """A worker, with the methods of `multiprocessing.Process` that make sense.

    Args:
        pid: its process id.
        number: by which its pool knows it, and it is named.
        pool: learns of its end from the template, whose child it is.

    Raises:
        ProcessLookupError: it is gone.

    """

    def __init__(self, pid: int, number: int, pool: "native.ProcessPool") -> None:
        """Open the process."""
        self.pid = pid
        self.name = f"plait-worker-{number}"
        # As in the worker: it may have children.
        self.daemon = False
        self._number = number
        self._pool = pool
        self.sentinel = os.pidfd_open(pid)

    def __del__(self) -> None:
        sentinel = getattr(self, "sentinel", None)
        if sentinel is not None:
            os.close(sentinel)

    def __repr__(self) -> str:
        code = self.exitcode
        state = "started" if code is None else f"stopped exitcode={code}"
        return f"<WorkerProcess name={self.name!r} pid={self.pid} {state}>"

    @property
    def ident(self) -> int:
        """The process id."""
        return self.pid

    @property
    def exitcode(self) -> int | None:
        """What it ended with: minus the number of a signal; 255 if nobody knows; or None yet."""
        if self.is_alive():
            return None
        # The template tells in a moment, if it is there.
        deadline = time.monotonic() + _TELLING
        while (code := self._pool.exit_code(self._number)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.001)
        return code

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._has_ended(0)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the process, for `timeout` seconds at most."""
        self._has_ended(None if timeout is None else max(0.0, timeout) * 1000)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.sentinel, number)

    def _has_ended(self, milliseconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self.sentinel, select.POLLIN)
        return bool(poll.poll(milliseconds))
