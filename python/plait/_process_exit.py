"""How process pools end: shut down, at the interpreter's exit, at Ctrl-C."""

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from plait import _lifelines, _lost
from plait import _notifier as _notifier  # its exit hook comes after that of the pools
from plait._binding import native
from plait._interrupt import ends_by_interrupt
from plait._mapping.feeds import Feeds

if TYPE_CHECKING:
    from plait._serial import SerialPool
    from plait._worker_processes import WorkerProcess

__all__ = ["Ending", "check_not_exiting"]

# What a running task gets to clean up when the user interrupts, in seconds.
_GRACE = 0.2

_TOO_LATE = "cannot make a process pool while the interpreter is exiting"


class Ending(Feeds):
    """A pool and the maps that still feed it, until both have ended.

    Args:
        pool: the pool.
        exit_timeout: how many seconds the interpreter's exit waits for what
            was accepted; None for as long as it takes.

    Raises:
        RuntimeError: the interpreter is exiting.

    """

    def __init__(
        self, pool: "native.ProcessPool | SerialPool", exit_timeout: float | None = None
    ) -> None:
        """Have the interpreter's exit wait for the pool."""
        super().__init__()
        self.pool = pool
        self.exit_timeout = exit_timeout
        self._owner = os.getpid()
        # Of its workers, by process id: those that somebody has looked at.
        self.handles: dict[int, WorkerProcess] = {}
        _exit.add(self)

    @property
    def number(self) -> int:
        """The pool's, by which its futures are known."""
        return self.pool.number

    @property
    def is_inherited(self) -> bool:
        """Whether this process was forked from the one whose pool it is."""
        return os.getpid() != self._owner

    def close_pool(self) -> None:
        """Take no more tasks; those accepted are done first."""
        self.pool.close(False)

    def close(self, wait: bool = False, *, cancel: bool = False, end: float | None = None) -> None:
        """Take no more tasks; those accepted are done first.

        Args:
            wait: whether the chunks of maps that are not sent yet may be sent
                as the workers get free, which takes until then.
            cancel: whether to cancel what has not begun.
            end: the time on the monotonic clock until which to wait.

        """
        for feed in list(self._feeds):
            if cancel:
                feed.give_up(cancelled=True)
            else:
                feed.finish(wait, end)
        self.pool.close(cancel)

    def wait(self, end: float | None = None) -> bool:
        """Return when every process is reaped, or at `end`; whether they are."""
        ended = self.pool.wait(None if end is None else max(0.0, end - time.monotonic()))
        if ended:
            self.handles.clear()
            _exit.discard(self)
            _lost.pool_ended(self.number)
        return ended

    def terminate(self, grace: float) -> None:
        """Take no more tasks and end what runs, by force after `grace` seconds."""
        self.abandon_feeds(cancelled=True)
        self.pool.terminate(grace)

    def end(self) -> None:
        """Take no more tasks and end what runs, by force after a moment."""
        self.terminate(_GRACE)

    def end_now(self) -> None:
        """Stop what runs and reap it, whatever else is pressed meanwhile."""
        self.end()
        while True:
            try:
                self.wait()
            except KeyboardInterrupt:
                continue  # at most the grace and a moment from now
            return

    def let_go_now(self) -> None:
        """End the pool of a `Pool` that nobody holds any more."""
        self.handles.clear()
        if not self.is_inherited and not self.pool.ended:
            self.end()

    def let_go(self) -> None:
        """Close the pool of an executor that nobody holds any more."""
        self.handles.clear()
        if not self.is_inherited:
            self.close()


class _Exit:
    """The pools that have to end before the interpreter does.

    Without a lock: a signal handler may make or end a pool, and so may what the
    garbage collector runs, in the midst of any of this. Each step on the set is
    one of the interpreter's.
    """

    def __init__(self) -> None:
        self.exiting = False
        # Strong: also one whose executor is gone may have work left.
        self._endings: set[Ending] = set()

    def add(self, ending: Ending) -> None:
        for other in list(self._endings):
            if other.pool.ended:
                self._endings.discard(other)
        # Added before it looks; `run` does it in the other order.
        self._endings.add(ending)
        if self.exiting:
            ending.pool.close(False)
            raise RuntimeError(_TOO_LATE)

    def discard(self, ending: Ending) -> None:
        self._endings.discard(ending)

    def run(self) -> None:
        begun = time.monotonic()
        self.exiting = True
        endings = list(self._endings)
        # Those that are to end first are waited for first.
        endings.sort(key=lambda ending: (ending.exit_timeout is None, ending.exit_timeout or 0.0))
        if ends_by_interrupt():
            for ending in endings:
                ending.end()
        try:
            for ending in endings:
                if not ending.has_feeds:
                    ending.close()
            for ending in endings:
                timeout = ending.exit_timeout
                end = None if timeout is None else begun + timeout
                ending.close(True, end=end)
                if not ending.wait(end):
                    ending.end_now()
        except KeyboardInterrupt:
            for ending in endings:
                ending.end_now()
            raise


_exit = _Exit()


def check_not_exiting() -> None:
    """Refuse to make a pool when the interpreter's exit has ended those that there are.

    Raises:
        RuntimeError: it has; parts of the interpreter may be gone.

    """
    if _exit.exiting or sys.is_finalizing():
        raise RuntimeError(_TOO_LATE)


def _after_fork_in_child() -> None:
    # The parent's pools end with the parent. Kept in the set of nobody, they
    # are neither waited for nor ended here.
    global _exit
    _exit = _Exit()


threading._register_atexit(lambda: _exit.run())  # type: ignore[attr-defined]
_lifelines.guard()
os.register_at_fork(after_in_child=_after_fork_in_child)
