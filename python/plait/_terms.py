"""The terms of a task: what `plait.task` is given, checked, and how they are written down."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, TypeAlias

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import Literal

    On: TypeAlias = Literal["auto", "serial", "loop", "thread", "process"] | Executor
    Backoff: TypeAlias = float | Callable[[int], float]

__all__ = ["DEFAULT", "PLACES", "Away", "Terms", "checked", "pause", "place", "seconds"]

PLACES = ("auto", "serial", "loop", "thread", "process")

# More retries than that are without end.
_MANY = 2**32 - 1


# No dataclass: that imports `inspect`, a fifth of the time in which a template starts.
class Terms(NamedTuple):
    """How an engine runs a task; see `plait.task`."""

    timeout: float | None = None
    grace: float = 0.2
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    name: str | None = None
    capture: bool = False
    backoff: Backoff = 0.0
    on: On | Away | None = None
    context: tuple[str, ...] = ()
    parallel_safe: bool = False

    def limits(self) -> tuple[float | None, float, int]:
        """Return timeout, grace and retries, as the native engines take them."""
        return self.timeout, self.grace, min(self.retries, _MANY)

    @property
    def rests(self) -> bool:
        """Whether there is a pause between its attempts."""
        return self.retries > 0 and self.backoff != 0

    def portable(self) -> Terms:
        """Return them as another process can have them."""
        if self.on is None or isinstance(self.on, str | Away):
            return self
        return self._replace(on=Away(type(self.on).__qualname__))


class Away(NamedTuple):
    """Stands for an executor in a process that does not have it."""

    name: str


DEFAULT = Terms()


def pause(backoff: Backoff, attempt: int) -> float:
    """Tell how many seconds to wait after the attempt of that number, the first being 1.

    Raises:
        TypeError: a function of the user's says something else than a number.
        ValueError: it says one below 0, or none.

    """
    if callable(backoff):
        return seconds(backoff(attempt), "what backoff returns")
    # Past any time that somebody waits for; a float would overflow.
    return backoff * 2.0 ** min(attempt - 1, 60)


def checked(
    *,
    on: On | None,
    timeout: float | None,
    grace: float,
    retries: SupportsIndex,
    retry_on: type[BaseException] | tuple[type[BaseException], ...],
    backoff: Backoff,
    name: str | None,
    context: str | Iterable[str],
    capture: bool,
    parallel_safe: bool,
) -> Terms:
    """Make terms of what a user wrote.

    Raises:
        TypeError: an argument is not of its type.
        ValueError: a number is negative or not a number, or a string says nothing.

    """
    limit = None if timeout is None else seconds(timeout, "timeout")
    return Terms(
        timeout=None if limit == math.inf else limit,
        grace=seconds(grace, "grace"),
        retries=_count(retries, "retries"),
        retry_on=_exceptions(retry_on),
        name=_text(name, "name"),
        capture=bool(capture),
        backoff=backoff if callable(backoff) else seconds(backoff, "backoff"),
        on=on if on is None else place(on),
        context=_variables(context),
        parallel_safe=bool(parallel_safe),
    )


def place(on: Any) -> On:
    """Check where a task is to run.

    Raises:
        TypeError: it is neither a string nor an executor.
        ValueError: there is no such place.

    """
    if isinstance(on, str):
        if on not in PLACES:
            raise ValueError(
                f"on must be one of {', '.join(map(repr, PLACES))} or an executor, not {on!r}"
            )
        return on  # type: ignore[return-value]
    # Whoever has an executor has imported it.
    from concurrent.futures import Executor

    if not isinstance(on, Executor):
        raise TypeError(
            f"on must be one of {', '.join(map(repr, PLACES))} or a concurrent.futures.Executor, "
            f"not an object of type {type(on).__qualname__}"
        )
    return on


def seconds(value: float, name: str) -> float:
    """Check an argument that is a number of seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or not a number.

    """
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


def _variables(value: str | Iterable[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if not isinstance(name, str):
            kind = type(name).__qualname__
            raise TypeError(
                "context must be names of context variables, such as 'package.module:variable', "
                f"not an object of type {kind}"
            )
        module, colon, variable = name.partition(":")
        if not (module and colon and variable):
            raise ValueError(f"context must be of the form 'package.module:variable', not {name!r}")
    return names
