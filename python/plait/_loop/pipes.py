"""Pipes: which files a transport can be made of, and the transports."""

from __future__ import annotations

import os
import stat
from typing import IO, TYPE_CHECKING, Any

from plait._binding import native

if TYPE_CHECKING:
    import asyncio

__all__ = ["PipesMixin"]


class PipesMixin:
    """What `asyncio.BaseEventLoop` asks of a loop for `connect_read_pipe` and its sister."""

    def _make_read_pipe_transport(
        self,
        pipe: IO[Any],
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> native.ReadPipeTransport:
        fd = pipe.fileno()
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError("Pipe transport is for pipes/sockets only.")
        os.set_blocking(fd, False)
        transport = native.ReadPipeTransport(
            self, pipe, protocol, waiter, {**(extra or {}), "pipe": pipe}
        )
        transport._start()
        return transport

    def _make_write_pipe_transport(
        self,
        pipe: IO[Any],
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> native.WritePipeTransport:
        fd = pipe.fileno()
        mode = os.fstat(fd).st_mode
        # Nothing can be read from their writing end: that it is ready for
        # reading says that the other end is closed.
        hears_the_end = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        if not (hears_the_end or stat.S_ISCHR(mode)):
            raise ValueError("Pipe transport is only for pipes, sockets and character devices")
        os.set_blocking(fd, False)
        transport = native.WritePipeTransport(
            self, pipe, protocol, hears_the_end, waiter, {**(extra or {}), "pipe": pipe}
        )
        transport._start()
        return transport
