"""Keeps the lifelines of this process to itself when it forks."""

import functools
import os

from plait._binding import native

__all__ = ["guard"]


@functools.cache
def guard() -> None:
    """Have forked children hold none; to be called before one is made.

    A child that held one would keep alive what is to end with this process.
    """
    os.register_at_fork(
        before=native.lifelines_before_fork,
        after_in_parent=native.lifelines_after_fork_in_parent,
        after_in_child=native.lifelines_after_fork_in_child,
    )
