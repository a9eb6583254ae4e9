"""`PLAIT_SERIAL=1`: tasks of a process pool run in the caller, at once, for a debugger's sake.

`SerialOutbound` and `SerialPool` stand in for what encodes calls and for what runs them: nothing is
pickled, no process is started, and a future has its outcome when `submit` returns it.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from plait._binding import native
from plait._future import Future
from plait._pickling.outbound import Outbound
from plait._pickling.sharing import Shared
from plait._worker.chunk import CHUNK, run_chunk

__all__ = ["SerialOutbound", "SerialPool", "run_coroutine"]

_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class SerialOutbound:
    """Takes calls as they are."""

    def __init__(self) -> None:
        """Have shared nothing yet."""
        self._outbound = Outbound()

    def encode(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], int, _Call]:
        """Return no images, the number of no image, and the call."""
        return (), 0, (fn, args, kwargs)

    def share(self, obj: Any, place: Callable[..., native.Image]) -> Shared[Any]:
        """Pickle an object as otherwise: it is to be as read-only as it will be in a worker."""
        return self._outbound.share(obj, place)


class SerialPool:
    """Runs each call in the thread that submits it."""

    # What fails is told of no pool.
    number = 0

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        """Take what is to be called before the first task."""
        self._initializer = initializer
        self._initargs = initargs
        self._broken: str | None = None
        self.ended = False
        self._done = self._failed = self._running = 0

    def check_open(self) -> None:
        """Refuse calls after the end.

        Raises:
            RuntimeError: the pool has been shut down.
            BrokenProcessPool: the initializer has failed.

        """
        if self._broken is not None:
            raise BrokenProcessPool(self._broken)
        if self.ended:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def submit(
        self, target: int, images: tuple[()], data: _Call, name: str, *_: object
    ) -> Future[Any]:
        """Run a call, and return its future."""
        self.check_open()
        # No frame that the exception keeps has the future, which keeps the exception.
        self._running += 1
        try:
            self._initialize()
            fn, args, kwargs = data
            value = run_chunk(fn, *args) if target & CHUNK else _call(fn, args, kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._failed += 1
            return Future._failed(name, error)
        else:
            self._done += 1
            return Future._succeeded(value)
        finally:
            self._running -= 1

    def share(self, packer: native.Packer, images: tuple[native.Image, ...]) -> native.Image:
        """Keep what was pickled."""
        return native.Image(packer, images)

    def _initialize(self) -> None:
        if self._initializer is None:
            return
        initializer, self._initializer = self._initializer, None
        try:
            _call(initializer, self._initargs, {})
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._broken = f"the initializer failed: {error!r}"
            raise BrokenProcessPool(self._broken) from error

    def close(self, cancel: bool = False) -> None:
        """Take no more calls."""
        self.ended = True

    def terminate(self, grace: float) -> None:
        """Take no more calls; nothing runs that could be stopped."""
        self.ended = True

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once: everything has been done."""
        return True

    def workers(self) -> int:
        """Return that there are none."""
        return 0

    def processes(self) -> list[tuple[int, int]]:
        """Return no processes."""
        return []

    def statistics(self) -> tuple[tuple[tuple[int, ...], int, int], list[Any]]:
        """Return what `plait._statistics` reads: counts of tasks, and no workers."""
        return ((0, self._running, self._done, self._failed, 0, 0, 0, 0), 0, 0), []


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    return run_coroutine(value) if isinstance(value, Coroutine) else value


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, also where a loop runs, which waits meanwhile."""
    from plait._loop.run import run

    if asyncio._get_running_loop() is None:
        return run(coroutine)
    # A thread can run one loop at a time.
    outcome: Future[Any] = Future()

    def run_elsewhere() -> None:
        try:
            outcome.set_result(run(coroutine))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run_elsewhere, name="plait-serial")
    thread.start()
    thread.join()
    return outcome.result()
