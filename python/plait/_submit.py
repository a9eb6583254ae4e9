"""`plait.submit`: one call, wherever it is to run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from plait._engines.choosing import engine_for
from plait._task import terms_of
from plait._terms import DEFAULT, place

if TYPE_CHECKING:
    from plait._future import Future
    from plait._terms import On

__all__ = ["check_function", "submit"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@overload
def submit(
    fn: Callable[..., Coroutine[Any, Any, _T]], /, *args: Any, on: On | None, **kwargs: Any
) -> Future[_T]: ...
@overload
def submit(fn: Callable[..., _T], /, *args: Any, on: On | None, **kwargs: Any) -> Future[_T]: ...
@overload
def submit(
    fn: Callable[_P, Coroutine[Any, Any, _T]], /, *args: _P.args, **kwargs: _P.kwargs
) -> Future[_T]: ...
@overload
def submit(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
def submit(fn: Any, /, *args: Any, on: Any = None, **kwargs: Any) -> Any:
    """Have `fn(*args, **kwargs)` called where it belongs, and return its future.

    The future has `result(timeout)` for sync code and can be awaited on any
    loop. `cancel` stops the call also where it runs: who waits for it gets
    `plait.Killed`. A coroutine that awaits the future and is cancelled cancels
    the call.

    Threads and coroutines run in a copy of the caller's context
    (`contextvars`). What is submitted without a running event loop, and needs
    one, runs on a loop in the background. What was accepted is done before the
    interpreter exits.

    Args:
        fn: the function. What `plait.task` made of it has its terms: timeout,
            retries, where it runs, ...
        args: its arguments.
        on: where to run it: "loop" (coroutine functions), "thread",
            "process", "serial" (here and now), "auto" (coroutine functions on
            the loop, others where their first calls show that they belong, at
            first here and now; see `plait.explain`), or any
            `concurrent.futures.Executor`. None: what `plait.task(on=...)`
            said, or else a coroutine function on the loop, anything else in a
            thread. It is the only keyword that is not the function's.
        kwargs: its keywords.

    Returns:
        The future of the call.

    Raises:
        TypeError: `fn` cannot be called, or cannot run there.
        ValueError: there is no such place, or it cannot keep one of the terms
            of `fn`.
        RuntimeError: the interpreter is exiting, or the pool takes nothing
            more.

    Example:
        >>> import plait
        >>> plait.submit(pow, 2, 5).result()
        32

    """
    check_function(fn)
    terms = terms_of(fn) or DEFAULT
    engine = engine_for(fn, terms, None if on is None else place(on))
    return engine.submit(fn, args, kwargs, terms)


def check_function(fn: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: it cannot.

    """
    if callable(fn):
        return
    if isinstance(fn, Coroutine):
        name = getattr(fn, "__qualname__", "fn")
        raise TypeError(
            f"submit takes a coroutine function and its arguments, not a coroutine: "
            f"submit({name}, ...) instead of submit({name}(...))"
        )
    raise TypeError(f"a task is a callable, not an object of type {type(fn).__qualname__}")
