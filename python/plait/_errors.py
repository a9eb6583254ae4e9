"""The exceptions of the pools that the standard library has no class for."""

import concurrent.futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

__all__ = ["Killed", "RemoteError", "TaskTimeout", "WorkerDied"]


class _Reported(Exception):
    """An exception with attributes that pickling keeps."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = cls(*args)
    error.__dict__.update(state)
    return error


class WorkerDied(_Reported, BrokenProcessPool):
    """The worker process died while it ran this task.

    The message names the task, the process and the signal or exit code. Only
    this task failed: the worker has been replaced, and the pool goes on. It is
    a `BrokenProcessPool` so that code written for the standard pool, which
    does not survive this, finds it.

    Attributes:
        pid: the process that the worker was; None if nobody is left who knows.
        signal: the number of the signal that ended it; None if none did, or
            if that is unknown.
        exitcode: the code with which it exited; None if it did not.
        stderr: the last lines that it wrote to standard error.

    """

    # Seen in tracebacks and `except` clauses as what users import.
    __module__ = "plait"

    def __init__(
        self,
        *args: object,
        pid: int | None = None,
        signal: int | None = None,
        exitcode: int | None = None,
        stderr: str = "",
    ) -> None:
        """Describe the death; see the attributes."""
        super().__init__(*args)
        self.pid = pid
        self.signal = signal
        self.exitcode = exitcode
        self.stderr = stderr


class _Stopped(_Reported):
    """A task that was stopped while it ran."""

    def __init__(
        self,
        *args: object,
        pid: int | None = None,
        elapsed: float | None = None,
        worker_killed: bool = False,
        abandoned: bool = False,
    ) -> None:
        """Describe how it was stopped; see the attributes."""
        super().__init__(*args)
        self.pid = pid
        self.elapsed = elapsed
        self.worker_killed = worker_killed
        self.abandoned = abandoned


class TaskTimeout(_Stopped, TimeoutError):
    """The task ran into its timeout and was stopped.

    Attributes:
        pid: the process that ran it; None if that was never told.
        elapsed: how many seconds it had run when it was asked to stop.
        worker_killed: whether it did not stop within its grace, so that its
            worker process had to be killed (and was replaced).
        abandoned: whether it did not stop within its grace, in a thread, which
            cannot be killed: it still runs there, and nobody waits for it.

    """

    __module__ = "plait"


class Killed(_Stopped, concurrent.futures.CancelledError):
    """The task ran when its future was cancelled, and was stopped.

    Attributes:
        pid: the process that ran it; None if that was never told.
        elapsed: how many seconds it had run when it was asked to stop.
        worker_killed: whether it did not stop within its grace, so that its
            worker process had to be killed (and was replaced).
        abandoned: whether it did not stop within its grace, in a thread, which
            cannot be killed: it still runs there, and nobody waits for it.

    """

    __module__ = "plait"


class RemoteError(RuntimeError):
    """Stands in for an exception of a task that could not be carried here.

    Attributes:
        class_name: the qualified name of its class.
        text: what `str()` made of it.
        traceback: its traceback in the worker, as text.

    """

    __module__ = "plait"

    def __init__(self, class_name: str, text: str, traceback: str) -> None:
        """Describe the exception; see the attributes."""
        super().__init__(f"{class_name}: {text}" if text else class_name)
        self.class_name = class_name
        self.text = text
        self.traceback = traceback

    def __reduce__(self) -> tuple[type["RemoteError"], tuple[str, str, str]]:
        return type(self), (self.class_name, self.text, self.traceback)
