"""What `multiprocessing` carries between processes and plain pickle does not.

Sockets, connections, shared `ctypes` objects and whatever else is registered with its
`ForkingPickler`. In a call to a pool the receiver fetches their descriptors from this process when
it unpickles; on the way to a process that is being started they travel along, and so do locks and
what is made of them.
"""

import functools
from collections.abc import Callable
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import ForkingPickler
from types import MethodDescriptorType, MethodType
from typing import Any, Final

__all__ = ["LOCKS", "REGISTERED", "check_locks", "is_handed_over", "reduce_lock", "reduce_shared"]

# Live: programs register more.
REGISTERED: Final[dict[type, Callable[[Any], Any]]] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
# The classes of locks, once `check_locks` was called.
LOCKS: Final[set[type]] = set()
# Registered too, though pickle has been good enough at them for long.
_PLAIN = frozenset({MethodType, MethodDescriptorType, functools.partial})


def reduce_shared(obj: Any) -> Any:
    """Reduce an object of a registered class as `multiprocessing` does."""
    kind = type(obj)
    return NotImplemented if kind in _PLAIN else REGISTERED[kind](obj)


def is_handed_over(obj: Any) -> bool:
    """Whether pickling an object hands over what is in it, and starts what does so."""
    kind = type(obj)
    return kind in REGISTERED and kind not in _PLAIN


def check_locks() -> None:
    """Have locks that only forked children can use refused with words that help.

    Up to Python 3.11.4 nobody else refuses them, and the receiver crashes.
    """
    from multiprocessing import synchronize

    LOCKS.update(
        (
            synchronize.Lock,
            synchronize.RLock,
            synchronize.Semaphore,
            synchronize.BoundedSemaphore,
        )
    )


def reduce_lock(lock: Any) -> Any:
    """Reduce a lock, unless it is of the fork context.

    Raises:
        RuntimeError: it is.

    """
    # A semaphore of the fork context has no name that it could be opened by.
    if get_spawning_popen() is not None and lock._semlock.name is None:
        name = type(lock).__name__
        raise RuntimeError(
            f"A SemLock created in a fork context, whose locks, queues and values only forked "
            f"children of this process can use, is being shared with another: make this {name}, "
            f"or what it is part of, by plait.get_context() or multiprocessing.get_context('spawn')"
        )
    return NotImplemented
