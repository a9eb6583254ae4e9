"""Exceptions that nobody asked for: who reports them, and how.

A future of plait that goes, or is still there at exit, with an exception that
nobody has got comes here; so does what asyncio says of its tasks and futures
on a loop of plait's.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import sys
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from plait._binding import native

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LostArgs", "__losthook__", "count", "look_at_exit", "losthook", "report", "report_all"]

_logger = logging.getLogger("plait.lost")


class LostArgs(NamedTuple):
    """What `plait.losthook` is told of a lost exception."""

    #: The exception, with its traceback.
    exc_value: BaseException
    #: What the task is called: the name of its function, as a rule.
    name: str | None
    #: The file in which it was submitted; None if that is not known.
    filename: str | None
    #: The line.
    lineno: int | None
    #: What asyncio says of it, where it has found it; of several lines.
    message: str | None = None


def losthook(args: LostArgs, /) -> None:
    """Report an exception that nobody asked for, through the logger `plait.lost`.

    Called once for each exception of a task whose outcome nobody has asked
    for: when its future is collected, some seconds after its pool has ended, or
    at exit, whichever comes first. As with `sys.excepthook`, another function
    can be put in its place; this one stays as `plait.__losthook__`. It is
    called in any thread, and what it raises is logged.

    Where logging is not configured, the report goes to standard error.

    Args:
        args: the exception, the task's name, and file and line of its submit.

    Example:
        >>> import plait
        >>> seen = []
        >>> plait.losthook = seen.append
        >>> with plait.ThreadPoolExecutor() as pool:
        ...     _ = pool.submit(int, "many")
        >>> del _
        >>> [(args.name, type(args.exc_value).__name__) for args in seen]
        [('int', 'ValueError')]
        >>> plait.losthook = plait.__losthook__

    """
    if args.message is not None and _tell_asyncio(args.exc_value, args.message):
        return
    _logger.error(
        "%s%s raised %s, and nobody asked for it%s",
        args.name or "a task",
        "" if args.filename is None else f", submitted at {args.filename}:{args.lineno},",
        type(args.exc_value).__name__,
        "" if args.message is None else f"\n{args.message}",
        exc_info=args.exc_value,
    )


__losthook__ = losthook


def _tell_asyncio(error: BaseException, message: str) -> bool:
    """Give what asyncio would have logged to who has set asyncio's logger up.

    Returns:
        Whether that was all that is to be said: it keeps its records to itself,
        or wants none of this kind.

    """
    logger = logging.getLogger("asyncio")
    if not logger.isEnabledFor(logging.ERROR):
        return True
    info = (type(error), error, error.__traceback__)
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, message, (), info)
    # From 3.12 on a filter may put another record in its place.
    passed: Any = logger.filter(record)
    if not passed:
        return True
    if isinstance(passed, logging.LogRecord):
        record = passed
    for handler in logger.handlers:
        if record.levelno >= handler.level:
            handler.handle(record)
    return bool(logger.handlers) and not logger.propagate


# The finaliser of an object can come in between, in the very thread that holds it.
_lock = threading.RLock()
_lost = 0
# What else may be left at exit: asyncio's side says so when it is loaded.
_looks: list[Callable[[], None]] = []


def name_of(function: Any) -> str:
    """Say what a task is called that calls `function`."""
    while isinstance(function, functools.partial):
        first = function.args[0] if function.args else None
        # `asyncio.to_thread` has functions run by a context.
        runs_first = getattr(function.func, "__qualname__", None) == "Context.run"
        function = first if runs_first and callable(first) else function.func
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def count() -> int:
    """Return how many exceptions this process has lost so far."""
    return _lost


def note() -> None:
    """Count an exception that is lost and that somebody else reports."""
    global _lost
    with _lock:
        _lost += 1


def look_at_exit(look: Callable[[], None]) -> None:
    """Have `look` called at exit, to report what is still there."""
    if look not in _looks:
        _looks.append(look)


# A future that is there when its pool ends can still be asked, and often is:
# so many seconds from then on nobody has lost it.
PATIENCE = 5.0


class Keeper(Protocol):
    """Keeps what pools have come to that is no future."""

    def keeps(self, pool: int) -> bool:
        """Tell whether there is something of that pool."""

    def look(self, pool: int) -> None:
        """Report what is lost of that."""


_keepers: list[Keeper] = []


def look_at_pools_ends(keeper: Keeper) -> None:
    """Have `keeper` asked, too, what is kept of a pool that has ended."""
    _keepers.append(keeper)


def pool_ended(number: int) -> None:
    """Have what is kept of a pool that has ended reported, unless somebody asks soon."""
    kept = any(keeper.keeps(number) for keeper in _keepers)
    # At exit no thread can be started: then it is reported at exit.
    with contextlib.suppress(RuntimeError):
        native.lost_pool_ended(number, PATIENCE, _look_at_pool if kept else None)


def _look_at_pool(number: int) -> None:
    for keeper in _keepers:
        keeper.look(number)


def report(
    exception: BaseException | type[BaseException],
    name: str | None = None,
    filename: str | None = None,
    lineno: int | None = None,
    message: str | None = None,
) -> None:
    """Report a lost exception.

    What was cancelled is not lost: somebody wanted it.
    """
    if isinstance(exception, type):
        exception = exception()
    if isinstance(exception, CancelledError):
        return
    note()
    args = LostArgs(exception, name, filename, lineno, message)
    hook: Callable[[LostArgs], object] = sys.modules["plait"].__dict__.get("losthook", losthook)
    try:
        hook(args)
    except Exception:
        _logger.exception("exception in plait.losthook, %r", hook)
        losthook(args)


def apart(call: Callable[[], object]) -> None:
    """Have `call` report what is lost, in the thread of the notifier.

    Whoever lets go of something may be inside of anything, above all if it is
    the collector that does: in a logging handler, which is not to be called
    again before it returns, or in `ast.parse`, which up to 3.11.7 and 3.12.1
    fails if it is (and a traceback is shown by its help).
    """
    native.lost_apart(call)


def report_all() -> None:
    """Report what is lost by now, and what is still there and nobody has asked for."""
    native.notifier_flush()
    for look in _looks:
        look()
    native.lost_report_kept()
    native.notifier_flush()


def _after_fork_in_child() -> None:
    global _lock, _lost
    _lock = threading.RLock()
    _lost = 0
    # What is left of the parent's loops is the parent's to report.
    _looks.clear()


def _passing() -> list[str]:
    """List what files begin with that only pass on what others submit."""
    library = os.path.dirname(os.__file__)
    standard = ("asyncio", os.path.join("concurrent", "futures"), "multiprocessing")
    packages = [os.path.dirname(__file__), *(os.path.join(library, name) for name in standard)]
    return [os.path.join(package, "") for package in packages]


def _prepare() -> None:
    native.site_passes_through(_passing())


def _prepare_below() -> None:
    # The native side looks at the frame that calls it and the one below it.
    _prepare()


_prepare_below()
os.register_at_fork(after_in_child=_after_fork_in_child)
# Behind the hooks by which the pools end, and behind what a program that has
# imported plait registers.
atexit.register(report_all)
