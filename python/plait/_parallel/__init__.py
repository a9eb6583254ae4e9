"""`plait.parallel`: calls that run at the same time and cannot harm one another."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, SupportsIndex, TypeVar, overload

from plait._arguments import worker_limit
from plait._engines.choosing import engine_for
from plait._engines.refusals import check, kind_of
from plait._future import Future
from plait._parallel import logs as log_files
from plait._parallel.workers import MOST, pool_for
from plait._pickling.outbound import describe
from plait._submit import check_function
from plait._task import TaskFunction, is_coroutine_function, terms_of
from plait._terms import DEFAULT, Terms, place, seconds
from plait._worker.reporting import Report, run_child, run_coroutine, taken_from

if TYPE_CHECKING:
    from plait._engines.engine import Engine
    from plait._terms import On

__all__ = ["Outcome", "parallel"]

_T = TypeVar("_T")


class Outcome(NamedTuple, Generic[_T]):
    """What came of one call of `plait.parallel`."""

    #: Whether it has returned.
    ok: bool
    #: What it has returned, or the exception: its own, `plait.TaskTimeout`, `plait.WorkerDied`.
    value: _T | BaseException
    #: How many seconds it has run. Of a process that died: until that was known.
    duration: float
    #: The number of the process that ran it, or the name of the thread; None if nobody knows.
    worker: int | str | None

    @property
    def error(self) -> BaseException | None:
        """The exception; None if the call has returned."""
        return self.value if not self.ok and isinstance(self.value, BaseException) else None


@overload
def parallel(
    fn: Callable[..., Coroutine[Any, Any, _T]],
    calls: Iterable[Any],
    *,
    on: On = "process",
    timeout: float | None = None,
    grace: float | None = None,
    workers: SupportsIndex | None = None,
    logs: str | os.PathLike[str] | None = None,
) -> list[Outcome[_T]]: ...
@overload
def parallel(
    fn: Callable[..., _T],
    calls: Iterable[Any],
    *,
    on: On = "process",
    timeout: float | None = None,
    grace: float | None = None,
    workers: SupportsIndex | None = None,
    logs: str | os.PathLike[str] | None = None,
) -> list[Outcome[_T]]: ...
def parallel(
    fn: Callable[..., Any],
    calls: Iterable[Any],
    *,
    on: On = "process",
    timeout: float | None = None,
    grace: float | None = None,
    workers: SupportsIndex | None = None,
    logs: str | os.PathLike[str] | None = None,
) -> list[Outcome[Any]]:
    """Make calls at the same time, each in a process of its own, and wait for all of them.

    For the automation of tests, above all: what one call does to itself, fails,
    hangs until its timeout or takes its process down, costs the others nothing.

    The processes are started as they are needed, and kept for ten seconds: the
    next `parallel` finds them. They see this process as of their start; when
    its environment, working directory or `sys.path` has changed, there are new
    ones.

    Args:
        fn: the function; a coroutine function is run to its end. What
            `plait.task` made of it has its retries.
        calls: its arguments, for each call: a tuple of them, a mapping of
            keywords, or a single argument that is neither.
        on: where to run the calls: "process", "thread", "loop", "serial" or an
            executor. Only processes can be killed.
        timeout: how many seconds each call may run. By default that of
            `plait.task`, or as long as it takes.
        grace: how many seconds one that is stopped has to clean up. By default
            that of `plait.task`, or 0.2.
        workers: how many calls run at the same time. By default all, up to 64.
        logs: a folder, made if it is missing, for what each call prints and
            logs: the file of call 7 is `007.log`. In processes only.

    Returns:
        The outcomes, in the order of the calls.

    Raises:
        TypeError: `fn` cannot be called, or not there.
        ValueError: a number is out of its range, there is no such place, or it
            cannot keep one of the terms or the logs.
        RuntimeError: the calls need the loop that this thread runs.
        OSError: a log cannot be written.

    Example:
        >>> import plait
        >>> plait.parallel(divmod, [(7, 2), (7, 0)])[0].value
        (3, 1)

    """
    check_function(fn)
    where = place(on)
    name = describe(fn)
    terms = _terms(fn, timeout, grace)
    check(fn, terms, where)
    kind = kind_of(where)
    if kind == "auto":
        kind = where = "loop" if is_coroutine_function(fn) else "process"
    if kind == "loop":
        _check_thread()
    if logs is not None and kind != "process":
        raise ValueError("what a call prints can be kept apart in processes alone: on='process'")
    arguments = [_arguments(call) for call in calls]
    limit = min(len(arguments), MOST) if workers is None else worker_limit(workers)
    files = None if logs is None else log_files.prepare(Path(logs), len(arguments))
    run = _Run(kind, fn, name, terms, arguments, files)
    with pool_for(kind, where, limit) as pool:
        target = run_coroutine if kind == "loop" else run_child
        run.to_the_end(engine_for(target, terms, pool), 1 if kind == "serial" else limit)
    return run.outcomes


def _check_thread() -> None:
    import asyncio  # 65 ms, of the 220 that twenty processes took from a cold start

    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "this thread runs the event loop that the coroutines need: to wait for them here would "
            "stop both for ever; await asyncio.to_thread(plait.parallel, ...)"
        )


def _terms(fn: Callable[..., Any], timeout: float | None, grace: float | None) -> Terms:
    terms = (terms_of(fn) or DEFAULT)._replace(capture=False, on=None)
    if timeout is not None:
        terms = terms._replace(timeout=seconds(timeout, "timeout"))
    return terms if grace is None else terms._replace(grace=seconds(grace, "grace"))


def _arguments(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(call, tuple):
        # A named tuple is one, too.
        return tuple(call), {}
    if isinstance(call, Mapping):
        return (), dict(call)
    return (call,), {}


class _Run:
    """The calls, from the first to the last."""

    def __init__(
        self,
        kind: str,
        fn: Callable[..., Any],
        name: str,
        terms: Terms,
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]],
        files: list[Path] | None,
    ) -> None:
        self._kind = kind
        self._fn = fn
        self._name = name
        self._terms = terms
        self._calls = calls
        self._files = files
        self._outcomes: dict[int, Outcome[Any]] = {}

    @property
    def outcomes(self) -> list[Outcome[Any]]:
        return [self._outcomes[number] for number in range(len(self._calls))]

    def to_the_end(self, engine: Engine, limit: int) -> None:
        """Run all calls, so many at the same time."""
        waiting = deque(range(len(self._calls)))
        running: dict[int, tuple[Future[Any], float]] = {}
        # What ends a call says when that was.
        ended: SimpleQueue[tuple[int, float]] = SimpleQueue()
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    number = waiting.popleft()
                    begun = time.monotonic()
                    future = self._start(engine, number)
                    running[number] = future, begun
                    future.add_done_callback(partial(_tell, ended, number))
                number, end = ended.get()
                future, begun = running.pop(number)
                self._outcomes[number] = self._outcome(number, future, end - begun)
        except BaseException:
            # Ctrl-C, say: nothing is left behind.
            futures = [future for future, _ in running.values()]
            for future in futures:
                future.cancel()
            concurrent.futures.wait(futures, timeout=self._terms.grace + 1)
            raise

    def _start(self, engine: Engine, number: int) -> Future[Any]:
        args, kwargs = self._calls[number]
        log = None if self._files is None else str(self._files[number])
        terms = self._terms._replace(name=f"{self._name} (call {number})")
        try:
            if self._kind == "loop":
                return engine.submit(run_coroutine, (self._fn, args, kwargs), {}, terms)
            kind = "process" if self._kind == "process" else "thread"
            # A process looks at the terms of the function for what to try again after.
            target = TaskFunction(run_child, terms)
            return engine.submit(target, (self._fn, args, kwargs, kind, log), {}, terms)
        except Exception as error:
            # The pool takes nothing more, say: that is how this call ends.
            return Future._failed(self._name, error)

    def _outcome(self, number: int, future: Future[Any], elapsed: float) -> Outcome[Any]:
        error = concurrent.futures.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            report: Report = future.result()
            return Outcome(True, report.value, report.seconds, report.worker)
        if self._files is not None:
            log_files.conclude(self._files[number], error)
        ran, worker = taken_from(error)
        return Outcome(False, error, elapsed if ran is None else ran, worker)


def _tell(ended: SimpleQueue[tuple[int, float]], number: int, future: object) -> None:
    ended.put((number, time.monotonic()))
