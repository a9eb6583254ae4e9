"""An event loop in a thread of its own, for programs that run none.

It starts with the first coroutine that is submitted without a loop, and ends at interpreter exit,
when those that were accepted have ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable
from typing import Any

from plait import _crew as _crew  # the threads of its executors end after it
from plait import _notifier as _notifier
from plait._engines.loop_call import LoopCall
from plait._future import Future
from plait._interrupt import ends_by_interrupt
from plait._loop.run import new_event_loop

__all__ = ["submit"]

# How many seconds the program's end waits for tasks that were cancelled.
_PATIENCE = 1.0


class _Background:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._exiting = False
        # Those that have not ended.
        self._futures: set[Future[Any]] = set()

    def submit(self, make: Callable[[asyncio.AbstractEventLoop], LoopCall]) -> Future[Any]:
        with self._lock:
            if self._exiting:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._thread is None:
                self._start()
            loop = self._loop.result()
            call = make(loop)
            self._futures.add(call.future)
            loop.call_soon_threadsafe(call.start)
        call.future.add_done_callback(self._futures.discard)
        return call.future

    def _start(self) -> None:
        # Whoever acquires it decides: the thread to run the loop, or we that it must not. An
        # interrupt can hit `start` after the thread has begun.
        claim = threading.Lock()
        # As a daemon: it is this module's hook that waits for it.
        thread = threading.Thread(target=self._run, args=(claim,), name="plait-loop", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except BaseException:
            if claim.acquire(blocking=False):
                self._thread = None
            raise

    def _run(self, claim: threading.Lock) -> None:
        if not claim.acquire(blocking=False):
            return
        # What coroutines start does not inherit that it is a daemon.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
        try:
            loop = new_event_loop()
        except BaseException as error:
            self._loop.set_exception(error)
            return
        try:
            loop.run_until_complete(_warm_up())
            loop.call_soon(self._loop.set_result, loop)
            loop.run_forever()
            _end(loop)
        finally:
            loop.close()

    def stop(self) -> None:
        with self._lock:
            self._exiting = True
        if self._thread is None or self._loop.exception() is not None:
            return
        try:
            if ends_by_interrupt():
                self._cancel_all()
            concurrent.futures.wait(list(self._futures))
        except KeyboardInterrupt:
            self._cancel_all()
            raise
        finally:
            loop = self._loop.result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            self._thread = None

    def _cancel_all(self) -> None:
        for future in list(self._futures):
            future.cancel()


async def _warm_up() -> None:
    """Use what a loop looks up at its first use.

    A process that another thread forks in the middle of that would wait for ever for its end.
    """
    await asyncio.wait_for(asyncio.sleep(1e-6), _PATIENCE)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left on the loop, as `asyncio.run` does; but do not wait for ever."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        ended, _ = loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE))
        for task in ended:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                loop.call_exception_handler(
                    {
                        "message": "an error in a task that was cancelled at the program's end",
                        "exception": error,
                        "task": task,
                    }
                )
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


_background = _Background()
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[_Background] = []


def submit(make: Callable[[asyncio.AbstractEventLoop], LoopCall]) -> Future[Any]:
    """Start the call that `make` makes for the loop in the background.

    Raises:
        RuntimeError: the interpreter is exiting, or there can be no other thread.

    """
    return _background.submit(make)


def _after_fork_in_child() -> None:
    global _background
    _inherited.append(_background)
    _background = _Background()


threading._register_atexit(lambda: _background.stop())  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
