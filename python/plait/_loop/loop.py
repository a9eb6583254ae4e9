"""`EventLoop`: the native loop and asyncio's own cold paths in one class.

Everything that happens for each callback, timer, event or byte is native. What
happens once per connection or program (address look-up, happy eyeballs,
`asyncio.Server`, TLS over a transport, asynchronous generators, debug mode) is
inherited from `asyncio.BaseEventLoop`: it is right, and it is what each
version's users expect. `tests/test_loop_contract.py` holds the inherited hooks
to the form that is relied on here.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.events
import concurrent.futures
from typing import TYPE_CHECKING, Any

from plait._binding import native
from plait._loop.attributes import Attributes
from plait._loop.executors import ExecutorsMixin
from plait._loop.forking import ForkingMixin
from plait._loop.losing import LosingMixin
from plait._loop.pipes import PipesMixin
from plait._loop.resolving import ResolvingMixin
from plait._loop.sendfile import SendfileMixin
from plait._loop.serving import ServingMixin
from plait._loop.signals import SignalsMixin
from plait._loop.sockets import SocketsMixin
from plait._loop.subprocesses import SubprocessesMixin
from plait._loop.tls import StartTlsMixin
from plait._loop.turning import TurningMixin

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventLoop"]


class EventLoop(  # type: ignore[misc]
    ForkingMixin,
    LosingMixin,
    TurningMixin,
    SignalsMixin,
    SocketsMixin,
    ResolvingMixin,
    ServingMixin,
    SendfileMixin,
    PipesMixin,
    SubprocessesMixin,
    StartTlsMixin,
    ExecutorsMixin,
    Attributes,
    asyncio.BaseEventLoop,
):
    """An asyncio event loop that is turned in Rust.

    A drop-in for `asyncio.SelectorEventLoop`: `plait.run`, `plait.install` or
    ``asyncio.Runner(loop_factory=plait.new_event_loop)`` put it in place.
    """

    _default_executor: concurrent.futures.Executor | None
    _thread_id: int | None
    # Called when it has been closed, by whoever has to know of it.
    _at_close: Callable[[EventLoop], None] | None = None

    if TYPE_CHECKING:
        # What asyncio's own loops build on, and the type library leaves out.
        _check_callback: Callable[[object, str], None]
        _check_default_executor: Callable[[], None]

    def __init__(self) -> None:
        """Make a loop that does not run yet."""
        asyncio.BaseEventLoop.__init__(self)
        self._clock_resolution = 1e-9
        self._init_signals()
        self._init_forking()
        self._init_losing()
        self._init_serving()
        self._init_children()

    # -- the run ----------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Raises:
            RuntimeError: The loop is closed or runs already, or another loop
                runs in this thread.

        """
        self._drive(self._run)

    def stop(self) -> None:
        """End `run_forever` after the turn that is under way (or the next)."""
        self._set_stopping(True)

    # A loop that nobody closed may end at the end of the interpreter: no name
    # of a module has a value then.
    _close_base = asyncio.BaseEventLoop.close

    def close(self) -> None:
        """Let go of every descriptor and of all that was scheduled.

        Raises:
            RuntimeError: The loop is running.

        """
        if self.is_closed():
            return
        # Checks first: a loop that runs keeps its signal handlers.
        self._close_base()
        self._close_signals()
        self._close_native()
        self._close_children()
        self._close_losing()
        if self._at_close is not None:
            self._at_close(self)

    def _report_slow_transport(self, transport: asyncio.BaseTransport, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            asyncio.base_events.logger.warning(  # type: ignore[attr-defined]
                "Executing callbacks of %r took %.3f seconds", transport, seconds
            )

    def _report_slow_callback(self, handle: native.Handle, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            asyncio.base_events.logger.warning(  # type: ignore[attr-defined]
                "Executing %s took %.3f seconds",
                asyncio.base_events._format_handle(handle),  # type: ignore[attr-defined]
                seconds,
            )

    # -- executors --------------------------------------------------------

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        """Set what `run_in_executor(None, ...)` runs in.

        Args:
            executor: A pool of threads: `plait.ThreadPoolExecutor` or the
                standard one. asyncio passes it functions that cannot be
                pickled.

        Raises:
            TypeError: It is something else.

        """
        from plait._threads import ThreadPoolExecutor

        if not isinstance(executor, (ThreadPoolExecutor, concurrent.futures.ThreadPoolExecutor)):
            raise TypeError(
                f"executor must be a ThreadPoolExecutor (plait's or the standard one), "
                f"got {executor!r}"
            )
        self._default_executor = executor

    def run_in_executor(  # type: ignore[override]
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[..., Any],
        *args: Any,
    ) -> asyncio.Future[Any]:
        """Run ``func(*args)`` in `executor`, by default in plait's threads.

        Returns:
            A future of this loop. Cancelling it withdraws a call that has not
            begun, and lets one that has begun go on.

        Raises:
            RuntimeError: The loop is closed, or its default executor was shut
                down.

        """
        self._check_closed()
        if self.get_debug():
            self._check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._default_executor
            self._check_default_executor()
            if executor is None:
                from plait._threads import ThreadPoolExecutor

                executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
                self._default_executor = executor
        future = executor.submit(func, *args)
        if isinstance(future, native.Future):
            return future._wrapped(self)
        return asyncio.wrap_future(future, loop=self)
