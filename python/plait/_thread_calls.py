"""A call in a thread that can be stopped: the frame that makes it, and what its failure is."""

import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, Protocol, TypeVar

from plait._binding import native
from plait._errors import Killed, TaskTimeout
from plait._pickling.endings import count_attempts
from plait._pickling.outbound import describe
from plait._task import TaskFunction
from plait._terms import Terms, pause

__all__ = ["Member", "failed", "pause_after", "place_of", "run", "stopped"]

_E = TypeVar("_E", bound=BaseException)


class Member(Protocol):
    """The thread that makes a call."""

    def lose(self) -> None:
        """Do without it: its call was abandoned."""


def run(call: native.ThreadCall, member: Member) -> None:
    """Make the call, in this thread, and end its future.

    What stops it is raised in this thread, at any bytecode from the `begin` of an attempt to its
    end; in the frame of `_attempt`, too. After the end nothing is raised any more.
    """
    parts = call.parts()
    try:
        while parts is not None:
            try:
                pause = _attempt(call, member, *parts)
            except BaseException as error:
                # It was stopped between its own end and our learning of it.
                pause = call.raised(error)
            if pause is None:
                return
            call.rest(pause)
    finally:
        # As in `_attempt`.
        del parts


def _attempt(
    call: native.ThreadCall,
    member: Member,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None,
    context: Any,
) -> float | None:
    if kwargs is None:
        kwargs = {}
    try:
        if not call.begin(threading.get_ident(), member):
            return None
        if context is not None:
            fn = functools.partial(context.copy().run, fn)
        value = fn(*args, **kwargs)
    except BaseException as error:
        return call.raised(error)
    finally:
        # The frames of an exception keep those that called them: this one.
        del fn, args, kwargs, context
    call.returned(value)
    return None


def pause_after(terms: Terms, error: BaseException, attempt: int, stopped: bool) -> float | None:
    """Tell how many seconds after a failed attempt to make the next; None: there is none.

    Args:
        terms: the task's.
        error: what the attempt raised.
        attempt: its number, from one.
        stopped: whether that is because it ran into its timeout.

    """
    # Our frames hold the arguments. The class may have a method of that name.
    BaseException.with_traceback(error, _beyond(error.__traceback__))
    if attempt > terms.retries or not (stopped or isinstance(error, terms.retry_on)):
        return None
    return pause(terms.backoff, attempt)


def failed(error: _E, attempts: int) -> _E:
    """Say of the exception of a call how often that was tried."""
    return count_attempts(error, attempts) if attempts > 1 else error


def stopped(
    terms: Terms,
    fn: object,
    late: bool,
    elapsed: float,
    grace: float,
    how: str,
    place: BaseException | str | None,
    attempts: int,
) -> TaskTimeout | Killed:
    """Make the exception of a call that was stopped.

    Args:
        terms: the task's.
        fn: what was called.
        late: whether it ran into its timeout; otherwise it was cancelled.
        elapsed: how many seconds it had run when it was asked to stop.
        grace: how many it had from then on.
        how: "stopped", "abandoned" because that was not enough, or "resting"
            between two attempts.
        place: what it raised when it was stopped, or where its thread hangs.
        attempts: how often it was tried.

    """
    name, kind = _name(terms, fn), TaskTimeout if late else Killed
    if late:
        text = f"{name} was stopped at its timeout of {terms.timeout:g} s, after {elapsed:.3g} s, "
        text += f"{_how(grace, how)}; if it needs longer, give it a larger timeout"
    elif how == "resting":
        text = f"{name} was cancelled while it waited for its next attempt"
    else:
        text = f"{name} was cancelled when it had run for {elapsed:.3g} s, and was stopped "
        text += _how(grace, how)
    error = kind(text, pid=os.getpid(), elapsed=elapsed, abandoned=how == "abandoned")
    return failed(_with_place(error, place), attempts)


def _name(terms: Terms, fn: object) -> str:
    return terms.name or describe(fn)


def _how(grace: float, how: str) -> str:
    if how == "abandoned":
        return (
            "by abandoning its thread, where it still hangs (code in C, or code that swallows the "
            f"exception): it did not stop by itself within {grace:g} s"
        )
    return "by an exception in its thread"


def _with_place(error: _E, place: BaseException | str | None) -> _E:
    if isinstance(place, BaseException):
        # As text: the frames hold what the call worked on.
        lines = traceback.format_tb(_beyond(place.__traceback__))
        if lines:
            error.add_note(f"\nIt was stopped here:\n{''.join(lines).rstrip()}")
    elif place:
        error.add_note(f"\nIts thread hangs here:\n{place.rstrip()}")
    return error


# The frames between a thread's begin and what the user calls.
_OURS: tuple[CodeType, ...] = (
    run.__code__,
    _attempt.__code__,
    TaskFunction.__call__.__code__,
)


def _beyond(frames: TracebackType | None) -> TracebackType | None:
    """Skip our own frames."""
    while frames is not None and frames.tb_frame.f_code in _OURS:
        frames = frames.tb_next
    return frames


def place_of(thread: int) -> str | None:
    """Tell where the call of a thread is, as the lines of a traceback."""
    frame = sys._current_frames().get(thread)
    frames: list[tuple[FrameType, int]] = []
    while frame is not None and frame.f_code is not _attempt.__code__:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    while frames and frames[-1][0].f_code in _OURS:
        frames.pop()
    return "".join(traceback.StackSummary.extract(reversed(frames)).format()) or None
