"""Handles of worker processes, for programs that look into the standard pools.

The standard executor keeps its `multiprocessing.Process` objects in
`_processes`, the standard pool in `_pool`; programs kill hung workers with
them, and monitors list them.
"""

import os
import select
import signal
from contextlib import suppress

__all__ = ["WorkerProcess"]


class WorkerProcess:
    """A worker, with the methods of `multiprocessing.Process` that make sense.

    It is a child of the pool's template: its exit code is known to the pool,
    and told by `plait.WorkerDied`.
    """

    def __init__(self, pid: int) -> None:
        """Open the process.

        Raises:
            ProcessLookupError: it is gone.

        """
        self.pid = pid
        self.sentinel = os.pidfd_open(pid)

    def __del__(self) -> None:
        sentinel = getattr(self, "sentinel", None)
        if sentinel is not None:
            os.close(sentinel)

    def __repr__(self) -> str:
        state = "started" if self.is_alive() else "stopped"
        return f"<WorkerProcess pid={self.pid} {state}>"

    @property
    def ident(self) -> int:
        """The process id."""
        return self.pid

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
