"""The pools that `plait.submit` and task groups use where they are not told another."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Literal, overload

from plait import _cores

if TYPE_CHECKING:
    from plait._processes import ProcessPoolExecutor
    from plait._threads import ThreadPoolExecutor

__all__ = ["default_executor", "is_given", "is_made", "renew", "set_default_executor"]

_lock = threading.Lock()
_pools: dict[str, Any] = {}
# The kinds whose pool the user has set.
_given: set[str] = set()
# Those of the processes that this one was forked from: held, so that nothing ends them here.
_inherited: list[dict[str, Any]] = []


@overload
def default_executor(kind: Literal["thread"]) -> ThreadPoolExecutor: ...
@overload
def default_executor(kind: Literal["process"]) -> ProcessPoolExecutor: ...
def default_executor(kind: str) -> Any:
    """Return the pool in which `plait.submit` and task groups run what has no pool of its own.

    It is made when it is first asked for, here or by them, and ends with the
    program, when what it has accepted is done. A process that was forked from
    this one makes its own.

    Args:
        kind: "thread" or "process". The pool has as many processes as there
            are cores that this program may use, by its affinity and its
            control group's quota; four threads more, and at most 32.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> import plait
        >>> plait.default_executor("thread") is plait.default_executor("thread")
        True

    """
    pool = _pools.get(kind)
    if pool is not None:
        return pool
    _check_kind(kind)
    with _lock:
        pool = _pools.get(kind)
        if pool is None:
            pool = _pools[kind] = _make(kind)
        return pool


@overload
def set_default_executor(kind: Literal["thread"], executor: ThreadPoolExecutor | None) -> None: ...
@overload
def set_default_executor(
    kind: Literal["process"], executor: ProcessPoolExecutor | None
) -> None: ...
def set_default_executor(kind: str, executor: Any) -> None:
    """Have `plait.submit` and task groups use another pool by default.

    The one before is left as it is: it ends when nobody holds it any more and
    what it has accepted is done.

    Args:
        kind: "thread" or "process".
        executor: a `plait.ThreadPoolExecutor` or `plait.ProcessPoolExecutor`;
            None: a new one, made when it is needed.

    Raises:
        ValueError: there is no such kind.
        TypeError: the pool is of another kind.

    """
    _check_kind(kind)
    if executor is None:
        with _lock:
            _pools.pop(kind, None)
            _given.discard(kind)
        return
    wanted = _class(kind)
    if not isinstance(executor, wanted):
        raise TypeError(
            f"the default executor of kind {kind!r} is a plait.{wanted.__name__}, "
            f"not an object of type {type(executor).__qualname__}"
        )
    with _lock:
        _pools[kind] = executor
        _given.add(kind)


def is_made(kind: str) -> bool:
    """Whether there is such a pool by now."""
    return kind in _pools


def is_given(kind: str) -> bool:
    """Whether the user has set that pool."""
    return kind in _given


def renew(kind: str, pool: Any) -> Any:
    """Put a new pool in the place of that one; None if the user has set it.

    The one before ends when nobody holds it any more and what it has accepted is done.
    """
    with _lock:
        if kind in _given:
            return None
        if _pools.get(kind) is pool:
            _pools[kind] = _make(kind)
        return _pools[kind]


def _check_kind(kind: str) -> None:
    if kind not in ("thread", "process"):
        raise ValueError(
            f"there are default executors of kind 'thread' and 'process', not {kind!r}"
        )


def _class(kind: str) -> type[Any]:
    if kind == "thread":
        from plait._threads import ThreadPoolExecutor

        return ThreadPoolExecutor
    from plait._processes import ProcessPoolExecutor

    return ProcessPoolExecutor


def _make(kind: str) -> Any:
    if kind == "thread":
        # As many more as the standard pool has: calls that wait need no core.
        return _class(kind)(min(32, _cores.usable() + 4), thread_name_prefix="plait")
    return _class(kind)()


def _after_fork_in_child() -> None:
    global _lock, _pools, _given
    _lock = threading.Lock()
    _inherited.append(_pools)
    _pools, _given = {}, set()


os.register_at_fork(after_in_child=_after_fork_in_child)
