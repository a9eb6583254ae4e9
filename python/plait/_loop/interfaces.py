"""The classes by which `isinstance` knows a native transport.

A native class cannot derive from asyncio's, for their memory layouts differ: its
`__class__` answers with the public class that asyncio's own transport is an
instance of, or with one from here where there are several.
"""

from __future__ import annotations

import asyncio

__all__ = ["DatagramTransport"]


class DatagramTransport(asyncio.Transport, asyncio.DatagramTransport):
    """Both, as asyncio's own from 3.12 on; before, that is a `Transport` alone."""

    __slots__ = ()
