"""The watcher: one thread that stops calls of other threads at their deadlines.

It starts with the first call that may have to be stopped, and ends at interpreter exit, after the
pools have waited for theirs.
"""

import os
import threading
from collections.abc import Callable

from plait import _notifier  # its exit hook comes after this one
from plait._binding import native

__all__ = ["owe", "start"]

_thread: threading.Thread | None = None

# What could not be done, and is tried again after so many seconds.
_owed: list[Callable[[], bool]] = []
_AGAIN = 0.05


def start() -> None:
    """Make sure that the thread runs.

    Does nothing if it runs already, or if the interpreter is exiting.

    Raises:
        RuntimeError: the system refuses another thread.

    """
    global _thread
    if not native.claim_watch():
        return
    # Whoever acquires it decides: the thread to serve, or we that it must not.
    # An interrupt can hit `start` after the thread has begun.
    claim = threading.Lock()
    try:
        # It tells who waits for a call that was abandoned.
        _notifier.start()
        _thread = threading.Thread(target=_watch, name="plait-watcher", args=(claim,))
        _thread.start()
    except BaseException:
        if claim.acquire(blocking=False):
            _thread = None
            native.disclaim_watch()
        raise


def owe(deed: Callable[[], bool]) -> None:
    """Have the thread try `deed` again until it tells that it is done. For that thread."""
    _owed.append(deed)


def _watch(claim: threading.Lock) -> None:
    if not claim.acquire(blocking=False):
        return
    # Who starts the thread has imported it; `import plait` is to be quick.
    from plait._thread_calls import place_of

    while (due := native.watch_calls(_AGAIN if _owed else None)) is not None:
        for call, thread, member in due:
            try:
                place = place_of(thread)
            except Exception as error:
                # The source of what it runs may be anything.
                place = f"  (it cannot be told where: {error!r})"
            if call.abandon(place):
                member.lose()
        _owed[:] = [deed for deed in _owed if not deed()]


def _stop() -> None:
    native.stop_watch()
    if _thread is not None:
        _thread.join()


def _after_fork_in_child() -> None:
    global _thread
    _thread = None
    _owed.clear()


threading._register_atexit(_stop)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
