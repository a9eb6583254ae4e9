"""What others look at inside the standard library's process pool, under its names there."""

import concurrent.futures
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plait._process_exit import Ending
from plait._worker_processes import WorkerProcess

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["StandardViews"]


class StandardViews:
    """The private attributes of an executor that code in the wild reads."""

    _pool: Any
    _given_context: "BaseContext | None"
    _max_tasks_per_child: int | None
    _ending: Ending

    @property
    def _mp_context(self) -> "BaseContext":
        """The context, for those who look into the standard executor."""
        if self._given_context is not None:
            return self._given_context
        import multiprocessing

        # As in the standard class.
        return multiprocessing.get_context(None if self._max_tasks_per_child is None else "spawn")

    @property
    def _broken(self) -> str | bool:
        """Why nothing works any more, or False, for those who look into the standard executor."""
        try:
            self._pool.check_open()
        except concurrent.futures.BrokenExecutor as error:
            return str(error)
        except RuntimeError:
            pass  # it is shut down
        return False

    @property
    def _processes(self) -> dict[int, WorkerProcess]:
        """The workers, for those who look into the standard executor."""
        return self._worker_processes()

    def _worker_processes(self) -> dict[int, WorkerProcess]:
        """Return a handle of each worker, waiting for those that are being started."""
        while len(processes := dict(self._pool.processes())) < self._pool.workers():
            time.sleep(0.001)
        handles = self._ending.handles
        for pid in handles.keys() - processes:
            del handles[pid]
        for pid, number in processes.items():
            if pid not in handles:
                with suppress(ProcessLookupError):
                    handles[pid] = WorkerProcess(pid, number, self._pool)
        return dict(handles)
