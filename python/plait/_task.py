"""`plait.task`: a function together with the terms that engines run it on."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    ParamSpec,
    SupportsIndex,
    TypeVar,
    cast,
    overload,
)

from plait._carried import Carried
from plait._terms import DEFAULT, Terms, checked, seconds

if TYPE_CHECKING:
    from plait._terms import Backoff, On

__all__ = [
    "TaskFunction",
    "Terms",
    "bare",
    "is_coroutine_function",
    "named_task",
    "seconds",
    "submitted_terms",
    "task",
    "terms_of",
]

# The flag of the code of an `async def`: inspect.CO_COROUTINE.
_COROUTINE = 0x80

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TaskFunction(Generic[_P, _T]):
    """What `task` makes of a function: called, it is that function.

    It pickles by name where its name leads to it, as functions do, and with
    its function otherwise.
    """

    # Of the function itself, where it has them: see `functools.update_wrapper`.
    __wrapped__: Callable[_P, _T]

    def __init__(self, fn: Callable[_P, _T], terms: Terms) -> None:
        """Bind `fn` to `terms`."""
        functools.update_wrapper(cast(Callable[..., Any], self), fn)
        self._terms = terms
        # What makes a coroutine function one is a flag of its code, which this
        # has none of, or such a mark: one name up to 3.11, another from 3.12 on.
        if is_coroutine_function(fn):
            _mark_coroutine_function(self)

    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call the function, here and now: a plain call, on no terms."""
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as the function would, so that methods can be decorated."""
        if instance is None or not hasattr(type(self.__wrapped__), "__get__"):
            return self
        return MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = getattr(self, "__qualname__", None)
        if isinstance(name, str) and _lookup(self.__module__, name) is self:
            return name
        return self.reduce_by_value()

    def reduce_by_value(self) -> tuple[Any, ...]:
        """Tell how to pickle it with its function."""
        named = named_task(self.__wrapped__)
        # Its function has a name only by way of another that decorates it.
        return _make, (
            self.__wrapped__ if named in (None, self) else named,
            self._terms.portable(),
        )

    def __repr__(self) -> str:
        given = [
            f"{field}={value!r}"
            for field in Terms._fields
            if (value := getattr(self._terms, field)) != getattr(DEFAULT, field)
        ]
        return f"plait.task({', '.join([repr(self.__wrapped__), *given])})"


@overload
def task(
    fn: Callable[_P, _T],
    /,
    *,
    on: On | None = None,
    timeout: float | None = None,
    grace: float = 0.2,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: Backoff = 0.0,
    name: str | None = None,
    context: str | Iterable[str] = (),
    capture: bool = False,
    parallel_safe: bool = False,
) -> TaskFunction[_P, _T]: ...


@overload
def task(
    *,
    on: On | None = None,
    timeout: float | None = None,
    grace: float = 0.2,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: Backoff = 0.0,
    name: str | None = None,
    context: str | Iterable[str] = (),
    capture: bool = False,
    parallel_safe: bool = False,
) -> Callable[[Callable[_P, _T]], TaskFunction[_P, _T]]: ...


def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    on: On | None = None,
    timeout: float | None = None,
    grace: float = 0.2,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: Backoff = 0.0,
    name: str | None = None,
    context: str | Iterable[str] = (),
    capture: bool = False,
    parallel_safe: bool = False,
) -> Any:
    """Give a function the terms on which it is run.

    The result is called as the function is, and a call of it is a plain call:
    the terms count where it is submitted. A method of an object and a
    `functools.partial` of the result keep its terms.

        @plait.task(on="process", timeout=10)
        def train(data): ...

        plait.submit(train, data)  # in a process, stopped after ten seconds
        pool.submit(plait.task(len, retries=2), data)

    At the timeout, and when the future of a running task is cancelled, an
    exception is raised in the task, so that its `finally` clauses run. If the
    task has not ended when the grace is over (it swallows the exception,
    blocks signals, or does not come back from C), a worker process is killed
    together with the processes of its process group; what a task starts is in
    that group unless it asks for another. A thread is abandoned: the task has
    failed, and where the thread hangs is told. A coroutine is cancelled again.

    Args:
        fn: the function. Without it, a decorator is returned. If it has terms
            already, it keeps those that are left at their defaults here.
        on: where `plait.submit` and task groups run it: "loop" (coroutine
            functions), "thread", "process", "serial" (by whoever submits it,
            at once), "auto", or any `concurrent.futures.Executor`. None: a
            coroutine function on the loop, anything else in a thread. The
            `submit` of a pool runs it in that pool whatever this says.
        timeout: how many seconds the task may run, counted from the moment
            when it begins, for each attempt. None: as long as it takes.
        grace: how many seconds a task that is stopped has to clean up.
        retries: how often to try again, with untouched arguments, after an
            exception of `retry_on`, a timeout, or the death of the worker. A
            task that was cancelled is never tried again.
        retry_on: the exceptions, of the task's own, after which to try again.
        backoff: how many seconds to wait before the second attempt; twice as
            many before each further one. Or a function that is called with the
            number of the attempt that failed (1, 2, ...) and tells.
        name: what messages call the task; by default the name of `fn`.
        context: names of context variables, such as "package.module:variable",
            whose values a process is told. In threads and coroutines
            `plait.submit` copies the whole context.
        capture: whether to keep what the task prints, for `Future.output`; in
            processes.
        parallel_safe: says that calls may run at the same time, in threads and
            in other processes, whatever their code looks like: for
            `on="auto"`, which otherwise keeps a function where it is called
            that changes something (`plait.explain` names the line).

    Raises:
        TypeError: `fn` cannot be called, an argument is not of its type, or
            `fn` cannot run where `on` says.
        ValueError: a number is negative or not a number, there is no such
            place, or the place cannot keep one of the terms.

    Example:
        >>> import plait
        >>> @plait.task(timeout=10, retries=1)
        ... def square(x):
        ...     return x * x
        >>> square(3)
        9
    """
    terms = checked(
        on=on,
        timeout=timeout,
        grace=grace,
        retries=retries,
        retry_on=retry_on,
        backoff=backoff,
        name=name,
        context=context,
        capture=capture,
        parallel_safe=parallel_safe,
    )
    if fn is None:
        return functools.partial(_bind, terms=terms)
    return _bind(fn, terms)


def terms_of(fn: Any) -> Terms | None:
    """Find the terms that `fn`, or what it binds arguments of, was given."""
    while True:
        kind = type(fn)
        if kind is TaskFunction:
            return cast(Terms, fn._terms)
        if kind is Carried:
            fn = fn.function
        elif isinstance(fn, functools.partial):
            fn = fn.func
        elif kind is MethodType:
            fn = fn.__func__
        else:
            return None


def submitted_terms(fn: Any) -> tuple[float | None, float, int] | None:
    """Tell the pool the terms of `fn`: timeout, grace and retries."""
    terms = terms_of(fn)
    return None if terms is None else terms.limits()


def bare(fn: Any) -> Any:
    """Return what is called in the end, where `fn` is it or its method with terms."""
    if type(fn) is TaskFunction:
        return fn.__wrapped__
    if type(fn) is MethodType and type(fn.__func__) is TaskFunction:
        return MethodType(fn.__func__.__wrapped__, fn.__self__)
    return fn


def _innermost(fn: Any) -> Any:
    """Find the function that a call of `fn` comes to."""
    while True:
        kind = type(fn)
        if kind is TaskFunction:
            fn = fn.__wrapped__
        elif kind is Carried:
            fn = fn.function
        elif isinstance(fn, functools.partial):
            fn = fn.func
        elif kind is MethodType:
            fn = fn.__func__
        else:
            return fn


def named_task(fn: Any) -> TaskFunction[..., Any] | None:
    """Find the decorated function that the name of the bare one leads to."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    found = _lookup(module, name)
    return found if type(found) is TaskFunction and found.__wrapped__ is fn else None


def _lookup(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _bind(fn: Any, terms: Terms) -> TaskFunction[..., Any]:
    if isinstance(fn, staticmethod | classmethod):
        raise TypeError(f"put @{type(fn).__name__} above @plait.task, not below it")
    if not callable(fn):
        raise TypeError(f"a task is a callable, not an object of type {type(fn).__qualname__}")
    if type(fn) is TaskFunction:
        kept = {
            field: getattr(fn._terms, field)
            for field in Terms._fields
            if getattr(terms, field) == getattr(DEFAULT, field)
        }
        fn, terms = fn.__wrapped__, terms._replace(**kept)
    if terms.on is not None:
        from plait._engines.refusals import check

        check(fn, terms, terms.on)
    return TaskFunction(fn, terms)


def _make(fn: Callable[..., Any], terms: Terms) -> TaskFunction[..., Any]:
    return TaskFunction(fn.__wrapped__ if type(fn) is TaskFunction else fn, terms)


def is_coroutine_function(fn: Any) -> bool:
    """Tell whether a call of `fn` returns a coroutine, as far as that can be seen."""
    fn = _innermost(fn)
    if type(fn) is not FunctionType:
        # Of an object that is called it is its class that says so.
        call = getattr(type(fn), "__call__", None)  # noqa: B004 - what it is counts
        return type(call) is FunctionType and is_coroutine_function(call)
    if fn.__code__.co_flags & _COROUTINE:
        return True
    if not fn.__dict__:
        return False
    # What `inspect.markcoroutinefunction` has marked.
    import inspect

    return inspect.iscoroutinefunction(fn)


def _mark_coroutine_function(fn: Any) -> None:
    import inspect

    mark: Callable[[Any], Any] | None = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        mark(fn)
    else:
        import asyncio

        fn._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
