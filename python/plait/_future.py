"""One Future for every engine."""

import concurrent.futures
import gc
import logging
import marshal
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from plait import _lost as _lost  # reports what is lost, at exit too
from plait import _notifier as _notifier  # its exit hook comes before those of the pools
from plait._binding import native

if TYPE_CHECKING:
    import asyncio

__all__ = ["Future", "Output"]

_T = TypeVar("_T")


class Output(NamedTuple):
    """What a task has printed."""

    stdout: str
    stderr: str


_logger = logging.getLogger("concurrent.futures")


# The standard class's private attributes can only be read here.
class Future(native.Future[_T], concurrent.futures.Future[_T]):  # type: ignore[override]
    """The outcome of a task that runs elsewhere, now or later.

    It is a `concurrent.futures.Future` in every respect (`result`, `cancel`,
    `add_done_callback`, `concurrent.futures.wait`, `asyncio.wrap_future`, ...),
    and a coroutine can await it, on any event loop and several times:

        rows = await pool.submit(read_rows, path)

    Awaiting it returns the value of the task or raises what the task raised.
    If the awaiting coroutine is cancelled, so is the future.

    `cancel` withdraws a task that has not begun: who waits for it gets
    `concurrent.futures.CancelledError`. One that runs in a process is stopped,
    and ends with `plait.Killed`; one that runs in a thread goes on.

    The pools make futures; an executor of your own may make them too, and
    complete them by `set_running_or_notify_cancel`, `set_result` and
    `set_exception`.

    Example:
        >>> import plait
        >>> future = plait.Future()
        >>> future.add_done_callback(lambda ended: print("got", ended.result()))
        >>> future.set_result(42)
        got 42
    """

    # What reports call its task, where it is ended by `set_exception`.
    _task_name: str | None = None
    # The pool with whose end it is looked at, then; 0: none.
    _task_pool: int = 0

    @classmethod
    def _failed(cls, name: str, error: BaseException) -> Self:
        """Make the future of a task that has failed, or could not even begin."""
        made = cls()
        made._fail(name, error)
        return made

    @classmethod
    def _succeeded(cls, value: _T) -> Self:
        """Make the future of a task that has ended."""
        made = cls()
        made.set_result(value)
        return made

    def _fail(self, name: str, error: BaseException) -> None:
        """End the task that is called so with what it has raised."""
        self._task_name = name
        self.set_exception(error)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        native.future_finalized(cls)

    @property
    def output(self) -> Output | None:
        """What the task has printed: None until it has ended, or if that was not asked for.

        `plait.task(..., capture=True)` asks for it. Of a task that was killed
        nothing is left.
        """
        packed = self._output
        if packed is None:
            return None
        stdout, stderr = (text.decode(errors="replace") for text in marshal.loads(packed))
        return Output(stdout, stderr)

    def __await__(self) -> Generator[Any, None, _T]:
        """Wait for the outcome in a coroutine, on the loop that runs it."""
        if not self.done():
            # Importing it takes longer than starting a worker, and programs without coroutines
            # never come here.
            import asyncio

            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            if self._subscribe(loop, waiter):
                try:
                    yield from waiter
                except BaseException as error:
                    self._unsubscribe(waiter)
                    if isinstance(error, asyncio.CancelledError):
                        self.cancel()
                    raise
        try:
            return self.result()
        finally:
            # An exception raised here keeps this frame, and the future keeps
            # the exception.
            del self


def _finalize_all() -> None:
    """Have all futures look, when they are collected, whether their failure is lost."""
    gc.callbacks.append(native.future_collecting)
    _finalize(Future)


def _finalize(base: type[Future[Any]]) -> None:
    native.future_finalized(base, now=True)
    for derived in base.__subclasses__():
        _finalize(derived)


def _resume(waiter: "asyncio.Future[None]") -> None:
    """Wake a coroutine, in its loop's thread."""
    if not waiter.done():
        waiter.set_result(None)


def _wrap(future: Future[_T], loop: "asyncio.AbstractEventLoop") -> "asyncio.Future[_T]":
    """Make a future of a loop that has no better way."""
    import asyncio

    return asyncio.wrap_future(future, loop=loop)


def _report(message: str, arguments: tuple[object, ...], error: BaseException) -> None:
    """Log an error of the user's code that has no caller to go to."""
    _logger.error(message, *arguments, exc_info=error)
