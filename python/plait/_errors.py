"""The exceptions of the pools that the standard library has no class for."""

from concurrent.futures.process import BrokenProcessPool

__all__ = ["RemoteError", "WorkerDied"]


class WorkerDied(BrokenProcessPool):
    """The worker process died while it ran this task.

    The message names the task, the process and the signal or exit code. Only
    this task failed: the worker has been replaced, and the pool goes on. It is
    a `BrokenProcessPool` so that code written for the standard pool, which
    does not survive this, finds it.
    """

    # Seen in tracebacks and `except` clauses as what users import.
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
