"""Who runs the loop: `run_forever`, or somebody outside, turn by turn."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

__all__ = ["TurningMixin"]

T = TypeVar("T")


class TurningMixin:
    """The state of a loop that runs, and `turn` and its family."""

    if TYPE_CHECKING:
        # What the native half and asyncio's own loops have.
        _debug: bool
        _thread_id: int | None
        _turn: Callable[[float | None, bool], bool]
        _run_while_alive: Callable[[], bool]
        _set_stopping: Callable[[bool], None]
        _check_closed: Callable[[], None]
        _check_running: Callable[[], None]
        _set_coroutine_origin_tracking: Callable[[bool], None]
        _asyncgen_firstiter_hook: Callable[[Any], None]
        _asyncgen_finalizer_hook: Callable[[Any], None]
        _woken_by_signals: Callable[[], contextlib.AbstractContextManager[None]]

    def _drive(self, run: Callable[..., T], *args: Any) -> T:
        """Return ``run(*args)``, called as that which runs the loop."""
        self._check_closed()
        self._check_running()
        set_running_loop = asyncio._set_running_loop
        running_before = asyncio._get_running_loop()
        hooks_before = sys.get_asyncgen_hooks()
        self._set_coroutine_origin_tracking(self._debug)
        self._thread_id = threading.get_ident()
        try:
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook,
                finalizer=self._asyncgen_finalizer_hook,
            )
            set_running_loop(self)  # type: ignore[arg-type]
            with self._woken_by_signals():
                return run(*args)
        finally:
            self._set_stopping(False)
            self._thread_id = None
            set_running_loop(running_before)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks_before)

    def turn(self, timeout: float | None = None, *, if_alive: bool = False) -> bool:
        """Turn the loop once: wait until something is ready or due, then run what is.

        What a callback schedules runs in a later turn. `stop` ends the wait.

        Args:
            timeout: How many seconds to wait at most; 0 is not at all, None
                is without end.
            if_alive: Do not wait when nothing keeps the loop alive. Otherwise
                another thread is expected to give it something to do.

        Returns:
            Whether anything keeps the loop alive (see `is_alive`).

        Raises:
            RuntimeError: The loop is closed or runs already, or another loop
                runs in this thread.

        """
        return self._drive(self._turn, timeout, if_alive)

    def run_while_alive(self) -> bool:
        """Turn the loop until nothing keeps it alive, or `stop` is called.

        Returns:
            Whether anything keeps it alive still, so that it was stopped.

        Raises:
            RuntimeError: As for `turn`.

        """
        return self._drive(self._run_while_alive)
