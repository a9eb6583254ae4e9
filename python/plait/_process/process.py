"""The class of processes."""

import math
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from plait._process.popen import Popen

__all__ = ["Limits", "Process"]


class Limits(NamedTuple):
    """How long a process may take, in seconds."""

    timeout: float | None
    grace: float


class _Overridable:
    """A property that subclasses of processes may have an attribute of the same name as."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else self._read(instance)


class Process(BaseProcess):
    """An activity that runs in a process of its own, as `multiprocessing.Process`.

    The process is forked by a template: a clean process that was executed for this one, once, so
    that none of this process's threads and locks come along and starting takes milliseconds. It
    sees the environment, working directory, `sys.path` and `sys.argv` of this process as of its
    start, and the functions and classes of `__main__`, which needs no guard.

    Like the processes of `multiprocessing` it appears in `multiprocessing.active_children()`, is
    joined when the interpreter exits, or terminated if it is daemonic. Unlike them, it ends with
    this process, however that ends.

    Args:
        group: None.
        target: what `run` calls.
        name: its name.
        args: the arguments of `target`.
        kwargs: the keyword arguments of `target`.
        daemon: whether it is daemonic; by default as the current process.
        timeout: how many seconds it may take from the moment when `run` begins. Then SIGTERM
            raises in it, so that its `finally` clauses run; after `grace` it is killed, with the
            processes that it has started. None: no bound.
        grace: the seconds between the two.

    Raises:
        ValueError: `timeout` is not positive, or `grace` is negative.
        TypeError: one of them is no number.

    """

    # The start method of its own children is what it is in this process.
    _start_method = None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = {},
        *,
        daemon: bool | None = None,
        timeout: float | None = None,
        grace: float = 0.2,
    ) -> None:
        """Make a process that has not started; see the class for the arguments."""
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        limit = None if timeout is None else _seconds("timeout", timeout)
        if limit == 0:
            raise ValueError("timeout must be more than 0 seconds")
        self._plait_limits = Limits(limit, _seconds("grace", grace))

    @_Overridable
    def timed_out(self) -> bool:
        """Whether it was ended because it ran into its timeout.

        Then `exitcode` is `-SIGTERM` if it cleaned up within its grace, else `-SIGKILL`.
        """
        popen = self._popen  # type: ignore[attr-defined]
        return popen is not None and popen.poll() is not None and bool(popen.timed_out)

    @staticmethod
    def _Popen(process: "Process") -> Popen:
        return Popen(process)

    @staticmethod
    def _after_fork() -> None:
        """Leave what `multiprocessing` has here: it was made in this process."""


def _seconds(name: str, value: float) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number of seconds, not {type(value).__qualname__}"
        ) from None
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")
    return seconds
