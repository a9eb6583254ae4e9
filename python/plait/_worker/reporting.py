"""One call of `plait.parallel`, where it runs."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from plait._worker.redirecting import Redirected

__all__ = ["Report", "run_child", "run_coroutine", "taken_from"]

# Under that name an exception has how long the call took, and who ran it.
_RAN = "_plait_ran"


class Report(NamedTuple):
    """What a call has returned, after how many seconds, and who ran it."""

    value: Any
    seconds: float
    worker: int | str


def run_child(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    kind: str,
    log: str | None,
) -> Report:
    """Call `fn`, and tell how that was.

    Args:
        fn: the function.
        args: its arguments.
        kwargs: its keywords.
        kind: "process" or "thread".
        log: the file for what it prints and logs.

    """
    worker = os.getpid() if kind == "process" else threading.current_thread().name
    begun = time.perf_counter()
    try:
        if log is None:
            value = _call(fn, args, kwargs)
        else:
            with _Logged(log), _records():
                value = _call(fn, args, kwargs)
    except BaseException as error:
        error.__dict__[_RAN] = time.perf_counter() - begun, worker
        raise
    return Report(value, time.perf_counter() - begun, worker)


async def run_coroutine(
    fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Report:
    """Do likewise on a loop."""
    worker = threading.current_thread().name
    begun = time.perf_counter()
    try:
        value = await fn(*args, **kwargs)
    except BaseException as error:
        error.__dict__[_RAN] = time.perf_counter() - begun, worker
        raise
    return Report(value, time.perf_counter() - begun, worker)


def taken_from(error: BaseException) -> tuple[float | None, int | str | None]:
    """Tell how long a call took that failed, and who ran it; None for what nobody knows."""
    ran = error.__dict__.pop(_RAN, None)
    if ran is not None:
        seconds, worker = ran
        return seconds, worker
    return getattr(error, "elapsed", None), getattr(error, "pid", None)


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    if not isinstance(value, Coroutine):
        return value
    from plait._worker.coroutines import run  # brings asyncio along

    well, value = run(value)
    if well:
        return value
    raise value


class _Logged(Redirected):
    """A file that standard output and standard error go to, as it is written."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._buffered = False

    def open(self, fd: int) -> int:
        """Open the file."""
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> None:
        super().__enter__()
        # Whoever is killed has written what he printed.
        self._buffered = _set_line_buffering(True)

    def restored(self) -> None:
        """Buffer as before."""
        if self._buffered:
            _set_line_buffering(False)


def _set_line_buffering(wanted: bool) -> bool:
    """Set it for standard output; tell whether that has changed it."""
    stream = sys.stdout
    if getattr(stream, "line_buffering", wanted) == wanted:
        return False
    stream.reconfigure(line_buffering=wanted)  # type: ignore[union-attr]
    return True


@contextmanager
def _records() -> Iterator[None]:
    """Have log records go to standard error, which is the file: not to the parent's logs, too."""
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


class _Stderr:
    """The descriptor, whatever `sys.stderr` is."""

    def write(self, text: str) -> int:
        """Write all of it at once."""
        os.write(2, text.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: it is written."""
