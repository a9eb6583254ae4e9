"""Signals: handlers that run in the loop, and a wait that Ctrl-C ends.

The C handler of a signal only sets a flag and writes the signal's number to the
wake-up descriptor. The loop watches the other end of that, so a signal that
arrives just before the loop falls asleep still wakes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plait._binding import native

__all__ = ["SignalsMixin"]


def _ignore(signum: int, frame: object) -> None:
    """Stand for a handler that the loop calls: without one, nothing is written."""


def _check_signal(sig: int) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")


class _Handler(NamedTuple):
    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: contextvars.Context


class SignalsMixin:
    """`add_signal_handler` and `remove_signal_handler` of the loop."""

    if TYPE_CHECKING:
        _add_reader: Callable[..., native.Handle]
        remove_reader: Callable[[Any], bool]
        _set_inner_watches: Callable[[int], None]
        call_soon: Callable[..., native.Handle]
        _check_closed: Callable[[], None]
        _thread_id: int | None

    def _init_signals(self) -> None:
        self._signal_handlers: dict[int, _Handler] = {}
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None

    def _signal_fd(self) -> int:
        """Return the descriptor that signals are written to; watch the other end."""
        if self._signal_sockets is None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            self._signal_sockets = ours, theirs
            self._add_reader(ours, self._read_signals, ours)
            self._set_inner_watches(1)
        return self._signal_sockets[1].fileno()

    def _read_signals(self, ours: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while data := ours.recv(4096):
                for signum in data:
                    if signum in self._signal_handlers:
                        handler = self._signal_handlers[signum]
                        self.call_soon(handler.callback, *handler.args, context=handler.context)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """Have signals wake the loop, where Python handles them: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ours = self._signal_fd()
        before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        try:
            yield
        finally:
            # While there are handlers, a signal between two runs is kept for
            # the next.
            if not self._signal_handlers:
                before = -1 if before == ours else before
                signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    def _let_signals_go(self) -> None:
        """Have no signal written, between two runs, if none has a handler."""
        if not self._signal_handlers and self._thread_id is None:
            self._part_from_signals()

    def _part_from_signals(self) -> None:
        """Have no signal written to the loop's socket; another descriptor stays in place."""
        if self._signal_sockets is None:
            return
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, self._signal_sockets[1].fileno()):
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Have ``callback(*args)`` called in the loop when `sig` arrives.

        Raises:
            TypeError: `callback` is a coroutine or a coroutine function, or
                `sig` is not an integer.
            ValueError: There is no such signal.
            RuntimeError: The signal cannot be caught, this is not the main
                thread, or the loop is closed.

        """
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                f"a handler for signal {sig} can only be added in the main thread: "
                "Python receives signals nowhere else"
            )
        before = self._signal_handlers.get(sig)
        self._signal_handlers[sig] = _Handler(callback, args, contextvars.copy_context())
        try:
            signal.set_wakeup_fd(self._signal_fd(), warn_on_full_buffer=False)
            signal.signal(sig, _ignore)
            signal.siginterrupt(sig, False)
        except OSError as error:
            if before is None:
                del self._signal_handlers[sig]
            else:
                self._signal_handlers[sig] = before
            self._let_signals_go()
            raise RuntimeError(f"sig {sig} cannot be caught") from error

    def remove_signal_handler(self, sig: int) -> bool:
        """Put the default action of `sig` back.

        Returns:
            Whether there was a handler.

        Raises:
            TypeError: `sig` is not an integer.
            ValueError: There is no such signal.
            RuntimeError: The default action could not be put back.

        """
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as error:
            raise RuntimeError(f"sig {sig} cannot be caught") from error
        finally:
            self._let_signals_go()
        return True

    # As `EventLoop._close_base`: for a loop that ends with the interpreter.
    _is_finalizing = staticmethod(sys.is_finalizing)
    _detach = staticmethod(socket.SocketType.detach)

    def _renew_signals(self) -> None:
        """Part from the process that this one was forked from, which has the sockets too."""
        if self._signal_sockets is None:
            return
        ours, theirs = self._signal_sockets
        self._signal_sockets = None
        self.remove_reader(ours)
        self._set_inner_watches(0)
        ours.close()
        theirs.close()
        runs = self._thread_id == threading.get_ident()
        if threading.current_thread() is threading.main_thread() and (
            runs or self._signal_handlers
        ):
            signal.set_wakeup_fd(self._signal_fd(), warn_on_full_buffer=False)

    def _close_signals(self) -> None:
        if self._is_finalizing():
            # The process ends; until then nobody else gets their numbers.
            for each in self._signal_sockets or ():
                self._detach(each)
            return
        main = threading.current_thread() is threading.main_thread()
        for sig in list(self._signal_handlers):
            if main:
                self.remove_signal_handler(sig)
        self._signal_handlers.clear()
        if self._signal_sockets is None:
            return
        if main:
            # Nobody may write into a number that somebody else gets next.
            self._part_from_signals()
        ours, theirs = self._signal_sockets
        self._signal_sockets = None
        self.remove_reader(ours)
        ours.close()
        theirs.close()
