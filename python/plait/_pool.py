"""`plait.Pool`: the interface of `multiprocessing.Pool` on the process pool."""

import weakref
from collections.abc import Callable, Iterable
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

from plait._future import Future
from plait._mapping.chunk import Send
from plait._mapping.sizing import Sizer
from plait._pickling.sharing import Shared
from plait._pool_base import RUN, BasePool, check_arguments
from plait._process_exit import Ending
from plait._processes import ProcessPoolExecutor
from plait._worker_processes import WorkerProcess

__all__ = ["Pool"]

_T = TypeVar("_T")


class _EagerExecutor(ProcessPoolExecutor):
    _eager = True
    _as_pool = True


class Pool(BasePool):
    """A pool of processes, as `multiprocessing.Pool`.

    The processes are those of `plait.ProcessPoolExecutor`: forked from a clean
    template, so that functions need not be importable and no guard of
    `__main__` is needed; one that dies fails its call with
    `plait.WorkerDied`, where `multiprocessing` would wait for ever. All of
    them are started at once.

    Where `chunksize` is not given, chunks follow the time that the items take.
    Callbacks are called in a thread of plait's; what they raise is logged.

    A pool should be closed or terminated; leaving its `with` block terminates
    it. So does the interpreter's exit, and the collection of a pool that
    nobody holds, which warns.

    Args:
        processes: how many; by default one for each CPU that this process may
            use.
        initializer: called in each process before its first task. If it
            raises, the pool is broken.
        initargs: the arguments of `initializer`.
        maxtasksperchild: after how many tasks a process is replaced; a chunk
            is one task. By default they live as long as the pool.
        context: a context of `multiprocessing`; see `ProcessPoolExecutor`.

    Raises:
        ValueError: `processes` is less than one, or `maxtasksperchild` is no
            positive integer.
        TypeError: `initializer` cannot be called.

    Example:
        >>> import plait
        >>> with plait.Pool(2) as pool:
        ...     pool.map(abs, [-1, 2, -3])
        [1, 2, 3]
    """

    _ending: Ending

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None:
        check_arguments(processes, initializer)
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        self._executor = _EagerExecutor(
            processes,
            context,
            initializer,
            tuple(initargs),
            max_tasks_per_child=maxtasksperchild,
            exit_timeout=0.0,
        )
        self._processes = self._executor._max_workers
        self._ending = self._executor._ending
        self._state = RUN
        # Nobody can ask a pool that is gone for anything.
        weakref.finalize(self, self._ending.let_go_now).atexit = False

    def share(self, obj: _T) -> Shared[_T]:
        """Place an object once, for any number of calls; see `ProcessPoolExecutor.share`.

        Raises:
            ValueError: the pool is not running.
            Exception: the object cannot be pickled.

        """
        self._check_running()
        return self._executor.share(obj)

    def _submit(
        self, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[_T]:
        return self._executor.submit(fn, *args, **kwargs)

    def _map_with(
        self, fn: Callable[..., Any], mode: int, chunksize: int | None
    ) -> tuple[Send, Sizer]:
        return self._executor._map_with(fn, mode, chunksize)

    def terminate(self) -> None:
        """Take no more calls, end those that run, and the processes with them.

        What runs gets SIGTERM, and SIGKILL a moment later. The results that
        are left are `concurrent.futures.CancelledError` or `plait.WorkerDied`.
        """
        super().terminate()
        self._ending.wait()

    @property
    def _pool(self) -> list[WorkerProcess]:
        """The processes, for those who look into the pool of `multiprocessing`."""
        return list(self._executor._worker_processes().values())
