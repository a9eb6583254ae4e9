"""How a pool is doing."""

from dataclasses import dataclass
from typing import Literal

from plait._binding import native

__all__ = ["PoolStatistics", "ThreadPoolStatistics", "WorkerStatistics"]


@dataclass(frozen=True)
class WorkerStatistics:
    """One worker of a process pool, as of one moment.

    Attributes:
        queued: tasks that it was handed and has not begun.
        running: tasks that it has begun.
        done: tasks that returned.
        failed: tasks that raised.
        killed: tasks that were cancelled while they ran.
        timed_out: tasks that were ended at their deadline.
        bytes_sent: what was written to it of tasks, in bytes.
        bytes_received: what it has answered, in bytes.
        pid: its process; None until that is known, which may be after its first
            task has begun.
        activity: what it is at.

    """

    queued: int
    running: int
    done: int
    failed: int
    killed: int
    timed_out: int
    bytes_sent: int
    bytes_received: int
    pid: int | None
    activity: Literal["starting", "idle", "busy", "leaving", "dead"]


@dataclass(frozen=True)
class PoolStatistics:
    """A process pool, as of one moment.

    Attributes:
        queued: tasks that were accepted and have not begun, wherever they are.
        running: tasks that have begun and not ended.
        done: tasks that returned.
        failed: tasks that raised, or ended with their worker or with the pool.
        killed: tasks that were cancelled while they ran.
        timed_out: tasks that were ended at their deadline.
        bytes_sent: what was written to workers of tasks, in bytes.
        bytes_received: what workers have answered, in bytes.
        cancelled: tasks that were cancelled before they began.
        restarts: workers that ended though the pool had not told them to.
        workers: those who are there.

    """

    queued: int
    running: int
    done: int
    failed: int
    killed: int
    timed_out: int
    bytes_sent: int
    bytes_received: int
    cancelled: int
    restarts: int
    workers: tuple[WorkerStatistics, ...]


@dataclass(frozen=True)
class ThreadPoolStatistics:
    """A thread pool, as of one moment.

    Attributes:
        queued: calls that were accepted and have not begun.
        running: calls that have begun and not ended, those that were abandoned
            left out.
        done: calls that returned.
        failed: calls that raised, or could not be made.
        killed: calls that were cancelled while they ran.
        timed_out: calls that were ended at their deadline.
        abandoned: of the killed and timed out, those whose thread did not stop
            within their grace. Another thread has taken its place.
        late: of the abandoned, those that have ended since; what they came to
            was dropped. `abandoned - late` threads still hang.
        cancelled: calls that were cancelled before they began.
        workers: threads that there are or that are being started, without
            those that were lost to an abandoned call.
        idle: of the workers, those that have nothing to do.

    """

    queued: int
    running: int
    done: int
    failed: int
    killed: int
    timed_out: int
    abandoned: int
    late: int
    cancelled: int
    workers: int
    idle: int


def of_threads(queue: native.ThreadQueue) -> ThreadPoolStatistics:
    """Ask the queue of a thread pool."""
    return ThreadPoolStatistics(*queue.statistics())


def of_pool(pool: native.ProcessPool) -> PoolStatistics:
    """Ask the pool."""
    (counts, cancelled, restarts), workers = pool.statistics()
    return PoolStatistics(
        *counts,
        cancelled=cancelled,
        restarts=restarts,
        workers=tuple(
            WorkerStatistics(*of_worker, pid=pid, activity=activity)
            for of_worker, pid, activity in workers
        ),
    )
