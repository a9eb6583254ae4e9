"""The thread pools that are measured, each behind the same calls."""

import asyncio
import concurrent.futures
import multiprocessing.pool
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import plait
from child import Unable
from pool.peers import OURS, STANDARD, WORKERS

MULTIPROCESSING = "multiprocessing"
ANYIO = "anyio"

_T = TypeVar("_T")
ToThread = Callable[..., Awaitable[Any]]


class Peer:
    """A pool with its threads; what a pool does not have, it says."""

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Hand out a call; what comes back is for `wait`."""
        raise Unable("it has no call from code that is no coroutine")

    def wait(self, handle: Any) -> Any:
        """Wait for the result of a call."""
        raise NotImplementedError

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine, on the loop that goes with it."""
        return asyncio.run(main)

    def to_thread(self) -> ToThread:
        """Return what a coroutine of that loop hands out calls by, and awaits."""
        raise Unable("it has nothing that a coroutine can await")

    def close(self) -> None:
        """End the threads."""


class _Executor(Peer):
    def __init__(self, pool: concurrent.futures.ThreadPoolExecutor) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.submit(fn, *args)

    def wait(self, handle: Any) -> Any:
        return handle.result()

    def to_thread(self) -> ToThread:
        asyncio.get_running_loop().set_default_executor(self._pool)
        return asyncio.to_thread

    def close(self) -> None:
        self._pool.shutdown()


class _Ours(_Executor):
    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        return plait.run(main)


class _Pool(Peer):
    def __init__(self) -> None:
        self._pool = multiprocessing.pool.ThreadPool(WORKERS)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.apply_async(fn, args)

    def wait(self, handle: Any) -> Any:
        return handle.get()

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


class _Anyio(Peer):
    def to_thread(self) -> ToThread:
        import anyio
        import anyio.to_thread

        limiter = anyio.CapacityLimiter(WORKERS)
        return partial(anyio.to_thread.run_sync, limiter=limiter)


_MAKERS: dict[str, Callable[[], Peer]] = {
    STANDARD: lambda: _Executor(concurrent.futures.ThreadPoolExecutor(WORKERS)),
    MULTIPROCESSING: _Pool,
    ANYIO: _Anyio,
    OURS: lambda: _Ours(plait.ThreadPoolExecutor(WORKERS)),
}
PEERS = tuple(_MAKERS)


def make(name: str) -> Peer:
    """Start a pool."""
    return _MAKERS[name]()
