"""Loops in a process that was forked: the parent's are its own, and new ones work."""

from __future__ import annotations

import asyncio
import os
import signal
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["ForkingMixin"]

_loops: weakref.WeakSet[ForkingMixin] = weakref.WeakSet()


class ForkingMixin:
    """What a loop does when it finds itself in a process forked from its own."""

    if TYPE_CHECKING:
        _abandon: Callable[[int], None]
        _check_inherited: Callable[[], None]
        _signal_handlers: dict[int, object]
        _signal_sockets: tuple[socket.socket, socket.socket] | None
        _thread_id: int | None
        _closed: bool

    def _init_forking(self) -> None:
        self._made_in = os.getpid()
        self._is_inherited = False
        _loops.add(self)

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._is_inherited:
            self._check_inherited()

    def _leave_to_parent(self) -> None:
        self._is_inherited = True
        self._abandon(self._made_in)
        # The frames that run it are here too, but it runs only in the parent.
        self._thread_id = None
        running: object = asyncio._get_running_loop()
        if running is self:
            asyncio._set_running_loop(None)
        # A signal that the child gets is not for the parent's handlers.
        self._signal_handlers.clear()
        if self._signal_sockets is not None:
            current = signal.set_wakeup_fd(-1)
            if current not in (-1, self._signal_sockets[1].fileno()):
                signal.set_wakeup_fd(current, warn_on_full_buffer=False)


def _after_fork_in_child() -> None:
    for loop in list(_loops):
        loop._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
