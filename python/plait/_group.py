"""`plait.TaskGroup`: children of every kind that begin and end together.

The group is asyncio's own, used by its public methods alone. What is submitted is a task of it that
awaits the call; so asyncio's accounting is that of all children. Two more tasks do what is plait's:

- the guard, a child that sleeps until the group is cancelled, however that comes about, and then
  cancels again, after each grace, what goes on all the same;
- at the deadline, a child that fails: so the group ends as it does by any failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from plait._binding import native
from plait._engines.choosing import engine_for
from plait._group_errors import Failure, Passed, late, leaving, lose
from plait._group_sync import SyncGroup
from plait._group_waiting import Wait
from plait._pickling.outbound import describe
from plait._submit import check_function
from plait._task import terms_of
from plait._terms import DEFAULT, Terms, place, seconds

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import On

__all__ = ["TaskGroup"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_logger = logging.getLogger("plait")

# What swallows its cancellation is cancelled again no more often than that, in seconds.
_LEAST_PAUSE = 0.05


class TaskGroup(asyncio.TaskGroup):
    """An `asyncio.TaskGroup` for children of every kind, with a deadline.

        async with plait.TaskGroup(timeout=30) as group:
            page = group.create_task(fetch(url))
            rows = group.submit(read_rows, path, on="thread")
            tree = group.submit(train, data, on="process")

    The block ends when all children have ended. The first failure cancels the
    others and the block; the errors leave as one `ExceptionGroup`. When the
    timeout has passed since the block was entered, everything is cancelled and
    gets the grace to clean up; then processes are killed and threads abandoned.
    That leaves as `plait.TaskTimeout`, by itself where no child failed, in the
    group otherwise. A coroutine that swallows its cancellation is cancelled
    again, and named in the log.

    Plain `with` does the same in sync code, for what is submitted: the body is
    not interrupted, but what it waits for is cancelled.

    A child whose future somebody cancels has not failed.

    Args:
        timeout: how many seconds the block may take, waiting included. None:
            as long as it takes.
        grace: how many seconds children have to clean up.

    Raises:
        TypeError: a number of seconds is none.
        ValueError: it is negative.

    Example:
        >>> import plait
        >>> with plait.TaskGroup() as group:
        ...     power = group.submit(pow, 2, 5)
        >>> power.result()
        32
    """

    def __init__(self, timeout: float | None = None, grace: float = 0.2) -> None:
        """Make a group that is entered once."""
        super().__init__()
        self.__timeout = None if timeout is None else seconds(timeout, "timeout")
        self.__grace = seconds(grace, "grace")
        self.__loop: asyncio.AbstractEventLoop | None = None
        self.__begun = 0.0
        self.__deadline: asyncio.TimerHandle | None = None
        # Those that have not ended, the guard aside, and what they are called.
        self.__children: dict[asyncio.Task[Any], str] = {}
        # Of these, the calls that were submitted: their engines see to their end.
        self.__calls: set[asyncio.Task[Any]] = set()
        # Those that ran at the deadline.
        self.__stopped: list[str] = []
        # Of every failure, what failed.
        self.__failed: list[Failure] = []
        # Those that went on beyond their grace.
        self.__stubborn: list[str] = []
        self.__guard: asyncio.Task[None] | None = None
        self.__alone: asyncio.Future[None] | None = None
        self.__leaving = False
        self.__sync: SyncGroup | None = None

    # -- children ---------------------------------------------------------

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any
    ) -> asyncio.Task[_T]:
        """Add a coroutine, as `asyncio.TaskGroup.create_task`."""
        if self.__sync is not None:
            coro.close()
            raise RuntimeError(
                "a group that was entered by plain `with` has no event loop for a coroutine: "
                "submit the coroutine function with its arguments, or use `async with`"
            )
        task = super().create_task(coro, **kwargs)
        self.__adopt(task, task.get_name())
        return task

    @overload
    def submit(
        self,
        fn: Callable[..., Coroutine[Any, Any, _T]],
        /,
        *args: Any,
        on: On | None,
        **kwargs: Any,
    ) -> Future[_T]: ...
    @overload
    def submit(
        self, fn: Callable[..., _T], /, *args: Any, on: On | None, **kwargs: Any
    ) -> Future[_T]: ...
    @overload
    def submit(
        self, fn: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]: ...
    @overload
    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]: ...
    def submit(self, fn: Any, /, *args: Any, on: Any = None, **kwargs: Any) -> Any:
        """Add a call, as `plait.submit` makes it; in the thread of the group's loop.

        Its grace is that of the group, or its own where that is shorter.

        Raises:
            RuntimeError: the group has not been entered, is ending, or belongs
                to the loop of another thread.
            TypeError: `fn` cannot be called, or cannot run there.
            ValueError: there is no such place, or it cannot keep one of the
                terms of `fn`.

        """
        check_function(fn)
        terms = self.__graced(terms_of(fn) or DEFAULT)
        engine = engine_for(fn, terms, None if on is None else place(on))
        if self.__sync is not None:
            return self.__sync.submit(engine, fn, args, kwargs, terms)
        if self.__loop is None:
            raise RuntimeError("enter the group first: `async with` or `with plait.TaskGroup()`")
        if asyncio._get_running_loop() is not self.__loop:
            raise RuntimeError("submit to a group in the thread of its event loop")
        name = terms.name or describe(fn)
        return self.__call(name, lambda: engine.submit(fn, args, kwargs, terms))

    def __graced(self, terms: Terms) -> Terms:
        if terms.grace == DEFAULT.grace or terms.grace > self.__grace:
            return terms if terms.grace == self.__grace else terms._replace(grace=self.__grace)
        return terms

    def __call(self, name: str, start: Callable[[], Future[Any]]) -> Future[Any]:
        assert self.__loop is not None
        # A task before there is a call: a group that is ending refuses it.
        given: asyncio.Future[Future[Any]] = self.__loop.create_future()
        coroutine = Wait(given, self.__grace)
        try:
            task = super().create_task(coroutine, name=name)
        except BaseException:
            coroutine.close()
            raise
        self.__adopt(task, name)
        self.__calls.add(task)
        try:
            future = start()
        except BaseException:
            given.cancel()
            raise
        given.set_result(future)
        return future

    def __adopt(self, task: asyncio.Task[Any], name: str) -> None:
        self.__children[task] = name
        if task.done():
            # It was started eagerly. The group may end before callbacks are called.
            self.__ended(task)
            return
        task.add_done_callback(self.__ended)
        if self.__guard is None:
            self.__set_guard()

    def __set_guard(self) -> None:
        assert self.__loop is not None
        self.__alone = self.__loop.create_future()
        coroutine = self.__watch()
        try:
            self.__guard = super().create_task(coroutine, name="plait.TaskGroup")
        except RuntimeError:
            # A child that was started eagerly has ended the group already.
            coroutine.close()

    def __ended(self, task: asyncio.Task[Any]) -> None:
        name = self.__children.pop(task)
        self.__calls.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.__failed.append(Failure(error, name, native.task_site(task)))
        if self.__leaving:
            self.__leave_alone()

    def __leave_alone(self) -> None:
        """Let the guard end, where there is nobody left to guard."""
        if not self.__children and self.__alone is not None and not self.__alone.done():
            self.__alone.set_result(None)

    async def __watch(self) -> None:
        assert self.__alone is not None
        try:
            await self.__alone
            return
        except asyncio.CancelledError:
            # The group is: by a failure, its deadline, or from outside.
            pass
        named: set[asyncio.Task[Any]] = set()
        end = time.monotonic() + self.__grace
        while self.__children:
            left = end - time.monotonic()
            try:
                await asyncio.wait(list(self.__children), timeout=max(left, 0.0))
            except asyncio.CancelledError:
                continue
            if time.monotonic() < end:
                continue
            for task, name in list(self.__children.items()):
                if not task.done() and task not in self.__calls:
                    self.__cancel_again(task, name, first=task not in named)
                    named.add(task)
            end = time.monotonic() + max(self.__grace, _LEAST_PAUSE)

    def __cancel_again(self, task: asyncio.Task[Any], name: str, *, first: bool) -> None:
        if first:
            self.__stubborn.append(name)
            _logger.warning(
                "%s, in a task group, swallows its cancellation: it still runs %g s later and is "
                "cancelled again",
                name,
                self.__grace,
            )
        task.cancel()

    # -- the block --------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Enter the group; its time begins."""
        if self.__sync is not None:
            raise RuntimeError("this group has been entered by plain `with`")
        await super().__aenter__()
        self.__loop = asyncio.get_running_loop()
        self.__begun = time.monotonic()
        if self.__timeout is not None:
            self.__deadline = self.__loop.call_later(self.__timeout, self.__expire)
        return self

    def __expire(self) -> None:
        error = Passed()
        self.__stopped = list(self.__children.values())
        coroutine = _fail(error)
        try:
            super().create_task(coroutine, name="plait.TaskGroup deadline")
        except RuntimeError:
            # It is ending already.
            coroutine.close()
        self.__failed.append(Failure(error))

    async def __aexit__(
        self,
        et: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Wait for the children; see the class."""
        self.__leaving = True
        self.__leave_alone()
        try:
            await super().__aexit__(et, exc, tb)
        except BaseExceptionGroup as group:
            elapsed = time.monotonic() - self.__begun
            timeout = late(self.__timeout or 0.0, elapsed, self.__stopped)
            errors = list(group.exceptions)
            raise leaving(errors, self.__failed, timeout, self.__stubborn) from None
        except BaseException as raised:
            lose(self.__failed, raised)
            raise
        finally:
            if self.__deadline is not None:
                self.__deadline.cancel()
            # They hold the frames, and these the group.
            self.__failed.clear()
            self.__guard = None
            exc = None

    def __enter__(self) -> Self:
        """Enter the group from sync code; its time begins."""
        if self.__loop is not None or self.__sync is not None:
            raise RuntimeError("a task group is entered once")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("in a coroutine, use `async with`: `with` would block the loop")
        self.__sync = SyncGroup(self.__timeout, self.__grace)
        return self

    def __exit__(
        self,
        et: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Wait for the children; see the class."""
        assert self.__sync is not None
        self.__sync.leave(exc)


async def _fail(error: BaseException) -> None:
    raise error
