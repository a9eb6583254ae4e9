"""Whether functions of the socket module are still its own.

Tests, and tools that pin or forbid addresses, put others in their place: these
must be called then, and with what the program gave.
"""

from __future__ import annotations

import socket

__all__ = ["is_own"]


def is_own(function: object) -> bool:
    """Return whether the socket module defines `function`, whoever was imported first."""
    # What wraps a function takes its name over and its module's, but not this.
    return getattr(function, "__globals__", None) is vars(socket)
