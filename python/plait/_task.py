"""`plait.task`: a function together with the terms that engines run it on."""

import functools
import math
import operator
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, NamedTuple, ParamSpec, SupportsIndex, TypeVar, cast, overload

__all__ = ["TaskFunction", "Terms", "bare", "seconds", "submitted_terms", "task", "terms_of"]

# More retries than that are without end.
_MANY = 2**32 - 1

_P = ParamSpec("_P")
_T = TypeVar("_T")


# No dataclass: that imports `inspect`, a fifth of the time in which a template starts.
class Terms(NamedTuple):
    """How an engine runs a task; see `task`."""

    timeout: float | None = None
    grace: float = 0.2
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    name: str | None = None
    capture: bool = False
    backoff: float | Callable[[int], float] = 0.0

    def limits(self) -> tuple[float | None, float, int]:
        """Return timeout, grace and retries, as the native engines take them."""
        return self.timeout, self.grace, min(self.retries, _MANY)


_DEFAULT = Terms()


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
        if _is_coroutine_function(fn):
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
        return _make, (self.__wrapped__ if named in (None, self) else named, self._terms)

    def __repr__(self) -> str:
        given = [
            f"{field}={value!r}"
            for field in Terms._fields
            if (value := getattr(self._terms, field)) != getattr(_DEFAULT, field)
        ]
        return f"plait.task({', '.join([repr(self.__wrapped__), *given])})"


@overload
def task(
    fn: Callable[_P, _T],
    /,
    *,
    timeout: float | None = None,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    grace: float = 0.2,
    name: str | None = None,
    capture: bool = False,
) -> TaskFunction[_P, _T]: ...


@overload
def task(
    *,
    timeout: float | None = None,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    grace: float = 0.2,
    name: str | None = None,
    capture: bool = False,
) -> Callable[[Callable[_P, _T]], TaskFunction[_P, _T]]: ...


def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float | None = None,
    retries: SupportsIndex = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    grace: float = 0.2,
    name: str | None = None,
    capture: bool = False,
) -> Any:
    """Give a function the terms on which a pool runs it.

    The result is called as the function is, and a call of it is a plain call:
    the terms count where it is submitted. A method of an object and a
    `functools.partial` of the result keep its terms.

        @plait.task(timeout=10)
        def train(data): ...

        pool.submit(train, data)  # stopped after ten seconds
        pool.submit(plait.task(len, retries=2), data)

    At the timeout, and when the future of a running task is cancelled, an
    exception is raised in the task, so that its `finally` clauses run. If the
    task has not ended when the grace is over (it swallows the exception,
    blocks signals, or does not come back from C), its worker process is killed
    together with the processes of its process group; what a task starts is in
    that group unless it asks for another.

    Args:
        fn: the function. Without it, a decorator is returned. If it has terms
            already, it keeps those that are left at their defaults here.
        timeout: how many seconds the task may run, counted from the moment
            when it begins, for each attempt. None: as long as it takes.
        retries: how often to try again, with untouched arguments, after an
            exception of `retry_on`, a timeout, or the death of the worker. A
            task that was cancelled is never tried again.
        retry_on: the exceptions, of the task's own, after which to try again.
        grace: how many seconds a task that is stopped has to clean up.
        name: what messages call the task; by default the name of `fn`.
        capture: whether to keep what the task prints, for `Future.output`.

    Raises:
        TypeError: `fn` cannot be called, or an argument is not of its type.
        ValueError: a number is negative or not a number.

    Example:
        >>> import plait
        >>> @plait.task(timeout=10, retries=1)
        ... def square(x):
        ...     return x * x
        >>> square(3)
        9
    """
    terms = Terms(
        timeout=None if timeout is None else seconds(timeout, "timeout"),
        grace=seconds(grace, "grace"),
        retries=_count(retries, "retries"),
        retry_on=_exceptions(retry_on),
        name=_text(name, "name"),
        capture=bool(capture),
    )
    if terms.timeout == math.inf:
        terms = terms._replace(timeout=None)
    if fn is None:
        return functools.partial(_bind, terms=terms)
    return _bind(fn, terms)


def terms_of(fn: Any) -> Terms | None:
    """Find the terms that `fn`, or what it binds arguments of, was given."""
    while True:
        if type(fn) is TaskFunction:
            return fn._terms
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif type(fn) is MethodType:
            fn = fn.__func__
        else:
            return None


def bare(fn: Any) -> Any:
    """Return what is called in the end, where `fn` is it or its method with terms."""
    if type(fn) is TaskFunction:
        return fn.__wrapped__
    if type(fn) is MethodType and type(fn.__func__) is TaskFunction:
        return MethodType(fn.__func__.__wrapped__, fn.__self__)
    return fn


def submitted_terms(fn: Any) -> tuple[float | None, float, int] | None:
    """Tell the pool the terms of `fn`: timeout, grace and retries."""
    terms = terms_of(fn)
    return None if terms is None else (terms.timeout, terms.grace, min(terms.retries, _MANY))


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
            if getattr(terms, field) == getattr(_DEFAULT, field)
        }
        return TaskFunction(fn.__wrapped__, terms._replace(**kept))
    return TaskFunction(fn, terms)


def _make(fn: Callable[..., Any], terms: Terms) -> TaskFunction[..., Any]:
    return TaskFunction(fn.__wrapped__ if type(fn) is TaskFunction else fn, terms)


def seconds(value: float, name: str) -> float:
    """Check an argument that is a number of seconds."""
    kind = type(value)
    if not hasattr(kind, "__float__") and not hasattr(kind, "__index__"):
        raise TypeError(f"{name} must be a number of seconds, not {kind.__qualname__}")
    number = float(value)
    if not number >= 0:
        raise ValueError(f"{name} must be a number of seconds of at least 0, not {value!r}")
    return number


def _count(value: SupportsIndex, name: str) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        kind = type(value).__qualname__
        raise TypeError(f"{name} must be an integer, not {kind}") from None
    if count < 0:
        raise ValueError(f"{name} must be at least 0, not {count}")
    return count


def _exceptions(value: object) -> tuple[type[BaseException], ...]:
    classes = value if isinstance(value, tuple) else (value,)
    for cls in classes:
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise TypeError(
                f"retry_on must be an exception class or a tuple of them, not {value!r}"
            )
    return classes


def _text(value: str | None, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, not {type(value).__qualname__}")
    return value


def _is_coroutine_function(fn: Any) -> bool:
    import inspect

    return inspect.iscoroutinefunction(fn)


def _mark_coroutine_function(fn: Any) -> None:
    import asyncio
    import inspect

    mark: Callable[[Any], Any] | None = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        mark(fn)
    else:
        fn._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
