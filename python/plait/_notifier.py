"""The notifier: one thread that runs the Python side of what native threads finished.

A native thread ends a future without the interpreter lock and queues whoever
has to be told by Python code; this thread tells them. It starts when an engine
with such threads does, and ends at interpreter exit, after the pools that were
made later (exit hooks run last in, first out) and after everything queued has
been delivered; or later, with the last thread that the watcher waits for.
"""

import os
import threading

from plait._binding import native

_thread: threading.Thread | None = None
# Whether somebody needs it, and whether its exit hook has run.
_held = _passed = False


def start() -> None:
    """Make sure that the thread runs.

    Does nothing if it runs already, or if the interpreter is exiting.

    Raises:
        RuntimeError: the system refuses another thread.

    """
    global _thread
    if not native.notifier_open():
        return
    # Whoever acquires it decides: the thread to serve, or we that it must not.
    # An interrupt can hit `start` after the thread has begun.
    claim = threading.Lock()
    _thread = threading.Thread(target=_serve, name="plait-notifier", args=(claim,))
    try:
        _thread.start()
    except BaseException:
        if claim.acquire(blocking=False):
            _thread = None
            native.notifier_reopen()
        raise


def flush() -> None:
    """Wait until everything queued before this call has been delivered.

    Returns at once in the notifier's own thread, that is, in a callback.
    """
    native.notifier_flush()


def is_current() -> bool:
    """Tell whether this is the notifier's thread: a callback runs."""
    return threading.current_thread() is _thread


def _serve(claim: threading.Lock) -> None:
    if not claim.acquire(blocking=False):
        return
    while native.notifier_serve():
        pass


def hold() -> None:
    """Have the thread serve on when its exit hook has run, until `release` is called."""
    global _held
    _held = True


def release() -> None:
    """Take `hold` back."""
    global _held
    _held = False
    if _passed:
        _stop()


def _at_exit() -> None:
    global _passed
    # Set before it looks; who releases looks in the other order. Both may stop it.
    _passed = True
    if not _held:
        _stop()


def _stop() -> None:
    native.notifier_stop()
    if _thread is not None:
        _thread.join()


def _after_fork_in_child() -> None:
    global _thread, _held, _passed
    _thread = None
    _held = _passed = False
    native.after_fork_in_child()


# The hook that the standard library's own pools use: unlike `atexit`, it runs
# before the interpreter joins the threads that are left.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
