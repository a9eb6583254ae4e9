"""The exceptions for tasks that a pool ended, or whose worker did."""

from typing import TypeVar

from plait._errors import Killed, TaskTimeout, WorkerDied
from plait._pickling.results import failure_text

__all__ = ["count_attempts", "died", "killed", "timed_out"]

_E = TypeVar("_E", bound=BaseException)


def died(
    text: str, pid: int | None, signal: int | None, exitcode: int | None, stderr: str
) -> WorkerDied:
    """Make the exception of a task whose worker died; `text` says how."""
    return WorkerDied(text, pid=pid, signal=signal, exitcode=exitcode, stderr=stderr)


def timed_out(
    name: str,
    pid: int | None,
    timeout: float,
    elapsed: float,
    grace: float,
    worker_killed: bool,
    place: bytes,
) -> TaskTimeout:
    """Make the exception of a task that ran into its timeout.

    Args:
        name: the function's.
        pid: its worker's; None if that was never told.
        timeout: how many seconds it had.
        elapsed: how many it had run when it was asked to stop.
        grace: how many it had from then on.
        worker_killed: whether that was not enough.
        place: what it raised when it was stopped, encoded; or nothing.

    """
    text = f"{name} was stopped at its timeout of {timeout:g} s, after {elapsed:.3g} s"
    text += f", {_how(pid, grace, worker_killed)}"
    text += "; if it needs longer, give plait.task a larger timeout"
    return _with_place(
        TaskTimeout(text, pid=pid, elapsed=elapsed, worker_killed=worker_killed), pid, place
    )


def killed(
    name: str, pid: int | None, elapsed: float, grace: float, worker_killed: bool, place: bytes
) -> Killed:
    """Make the exception of a task that was cancelled while it ran; see `timed_out`."""
    text = f"{name} was cancelled when it had run for {elapsed:.3g} s, and was stopped"
    text += f" {_how(pid, grace, worker_killed)}"
    return _with_place(
        Killed(text, pid=pid, elapsed=elapsed, worker_killed=worker_killed), pid, place
    )


def count_attempts(error: _E, attempts: int) -> _E:
    """Add a note of how often the task was tried."""
    error.add_note(f"(this was attempt number {attempts}; those before failed too)")
    return error


def _worker(pid: int | None) -> str:
    return "a worker process" if pid is None else f"worker process {pid}"


def _how(pid: int | None, grace: float, worker_killed: bool) -> str:
    if worker_killed:
        number = "" if pid is None else f" {pid}"
        return (
            f"by killing its worker process{number} and what that had started: "
            f"it did not stop by itself within {grace:g} s"
        )
    return f"in {_worker(pid)}"


def _with_place(error: _E, pid: int | None, place: bytes) -> _E:
    if place:
        error.add_note(f"\nIn {_worker(pid)}, it was stopped here:\n{failure_text(place)}")
    return error
