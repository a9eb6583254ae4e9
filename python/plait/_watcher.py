"""The watcher: one thread that stops calls of other threads at their deadlines.

It starts with the first call that may have to be stopped, and ends at interpreter exit, after the
pools have waited for theirs and the threads that can be abandoned have ended.

Such a thread is a daemon for the interpreter, which would wait for ever for one that hangs. No exit
hook waits for it either: it may itself wait for the main thread to end, which threads are told of
behind the hooks. The interpreter waits for the watcher then, and the watcher for those threads.
"""

import os
import threading
from collections.abc import Callable

from plait import _notifier  # its exit hook comes after this one
from plait._binding import native

__all__ = ["keep", "let_go", "owe", "start"]

_thread: threading.Thread | None = None

# What could not be done, and is tried again after so many seconds.
_owed: list[Callable[[], bool]] = []
_AGAIN = 0.05


class _Kept:
    """The threads that the interpreter's exit is to wait for, unless they are abandoned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._exiting = self._over = False
        # Those that end, once the interpreter is exiting.
        self.ending: list[threading.Thread] = []

    def add(self, thread: threading.Thread) -> bool:
        with self._lock:
            if not self._over:
                self._threads.add(thread)
            return not self._over

    def discard(self, thread: threading.Thread, ends: bool) -> bool:
        """Keep a thread no longer; tell whether it was the last that the exit waits for."""
        with self._lock:
            if thread not in self._threads:
                return False
            self._threads.remove(thread)
            if ends and self._exiting:
                self.ending.append(thread)
            return self._is_over()

    def exit(self) -> bool:
        """Learn that the interpreter is exiting; tell whether it waits for none."""
        with self._lock:
            self._exiting = True
            return self._is_over()

    def _is_over(self) -> bool:
        self._over = self._exiting and not self._threads
        return self._over


_kept = _Kept()


def keep(thread: threading.Thread) -> bool:
    """Have the interpreter's exit wait for a thread; false if it has done its waiting."""
    return _kept.add(thread)


def let_go(thread: threading.Thread, *, ends: bool) -> None:
    """Do not have the exit wait for a thread that was abandoned, or only until it has ended."""
    if _kept.discard(thread, ends):
        native.stop_watch()


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
    for ending in _kept.ending:
        threading.Thread.join(ending)
    _notifier.release()


def _at_exit() -> None:
    started = _thread
    if started is not None:
        # For as long as it watches.
        _notifier.hold()
    if _kept.exit():
        native.stop_watch()
        if started is not None:
            started.join()


def _after_fork_in_child() -> None:
    global _thread, _kept
    _thread = None
    _kept = _Kept()
    _owed.clear()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
