"""Loops in a process that was forked: the parent's are its own, and new ones work."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

__all__ = ["ForkingMixin"]

_loops: weakref.WeakSet[ForkingMixin] = weakref.WeakSet()


class ForkingMixin:
    """What a loop does when it finds itself in a process forked from its own."""

    if TYPE_CHECKING:
        _abandon: Callable[[int], None]
        _reinit: Callable[[bool], None]
        _check_inherited: Callable[[], None]
        _signal_handlers: dict[int, object]
        _thread_id: int | None
        _closed: bool
        _default_executor: concurrent.futures.Executor | None
        _renew_signals: Callable[[], None]
        _part_from_signals: Callable[[], None]

    def _init_forking(self) -> None:
        self._made_in = os.getpid()
        self._is_inherited = False
        self._runs_on = False
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
        self._runs_on = self._thread_id == threading.get_ident()
        self._thread_id = None
        running: object = asyncio._get_running_loop()
        if running is self:
            asyncio._set_running_loop(None)
        # A signal that the child gets is not for the parent's handlers.
        self._parents_handlers = dict(self._signal_handlers)
        self._signal_handlers.clear()
        self._part_from_signals()

    def reinit(self) -> None:
        """Make the loop this process's own, in a process that was forked from its maker's.

        Callbacks, timers, watched descriptors, callbacks of phases and signal
        handlers live on, in both processes. Connections stay with the parent:
        here their protocols lose them (`ConnectionAbortedError`). Calls that
        run in a pool stay there too: what awaits one waits in vain. If the
        fork came from within a callback, the run goes on once that returns.

        Without a fork, has the kernel watch anew what the loop knows of.

        Raises:
            RuntimeError: The loop is closed.
            OSError: There is no descriptor left for it.

        """
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if not self._is_inherited:
            self._reinit(self._thread_id is not None)
            return
        self._reinit(self._runs_on)
        self._is_inherited = False
        self._made_in = os.getpid()
        # The threads of the pool are the parent's.
        self._default_executor = None
        if self._runs_on:
            self._thread_id = threading.get_ident()
            asyncio._set_running_loop(self)  # type: ignore[arg-type]
        self._signal_handlers.update(self._parents_handlers)
        self._renew_signals()


def _after_fork_in_child() -> None:
    for loop in list(_loops):
        loop._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
