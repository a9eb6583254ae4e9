"""Files sent by the kernel: `sendfile` over a transport, `sock_sendfile` over a socket.

What the kernel cannot send (no regular file, TLS) is read and written instead,
unless the caller forbids it, as in asyncio.
"""

from __future__ import annotations

import asyncio
import asyncio.exceptions
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["SendfileMixin"]

# As much as asyncio reads and writes at a time.
_BLOCK = 16384


def _regular(file: Any) -> tuple[int, int]:
    """Return the descriptor of a file and its size in bytes."""
    unavailable = asyncio.exceptions.SendfileNotAvailableError
    try:
        number = file.fileno()
        return number, os.fstat(number).st_size
    except (AttributeError, io.UnsupportedOperation, OSError) as error:
        raise unavailable("not a regular file") from error


async def _send(
    out: int,
    file: int,
    offset: int,
    count: int | None,
    size: int,
    until_writable: Callable[[int], Awaitable[None]],
) -> int:
    """Have the kernel send from `file`, whose position is behind what was sent in the end."""
    total = 0
    try:
        while count is None or total < count:
            block = size if count is None else count - total
            try:
                # A number of bytes that fits the kernel's on every machine.
                sent = os.sendfile(out, file, offset + total, min(block, sys.maxsize // 2 + 1))
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                if total == 0:
                    # Perhaps the kernel cannot send this kind of file.
                    raise asyncio.exceptions.SendfileNotAvailableError(
                        "os.sendfile call failed"
                    ) from error
                if error.errno == errno.ENOTCONN:
                    raise ConnectionError(errno.ENOTCONN, "socket is not connected") from error
                raise
            else:
                if sent == 0:
                    break
                total += sent
                if total == count:
                    break
            # Also where there is room: the other connections have their turn.
            await until_writable(out)
    finally:
        if total:
            os.lseek(file, offset + total, os.SEEK_SET)
    return total


def _check_alone(transport: Any) -> None:
    """Refuse a file behind one that is read and written right now."""
    if isinstance(transport.get_protocol(), _Interlude):
        raise RuntimeError("unable to send a file; sendfile is in progress")


def _check_open(transport: Any) -> None:
    if transport.is_closing():
        raise ConnectionError("Connection closed by peer")


class _Interlude(asyncio.Protocol):
    """Takes the place of a transport's protocol while a file is read and written.

    Its own protocol hears nothing meanwhile, but for the end.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._was_reading = transport.is_reading()
        self._was_paused = transport._protocol_paused
        self._paused = self._was_paused
        self._waiting: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        _check_open(self._transport)
        while self._paused:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
            _check_open(self._transport)

    def data_received(self, data: bytes) -> None:
        # Whoever resumed reading is not to lose what came, and not be told.
        raise RuntimeError("Invalid state: reading should be paused while a file is sent")

    def eof_received(self) -> None:
        raise RuntimeError("Invalid state: reading should be paused while a file is sent")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("Connection is closed by peer"))
        self._protocol.connection_lost(exc)

    def restore(self) -> None:
        self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()
        if self._was_paused and not self._paused:
            self._protocol.resume_writing()
        elif self._paused and not self._was_paused:
            self._protocol.pause_writing()


class SendfileMixin:
    """How files are sent."""

    if TYPE_CHECKING:
        _writable: Callable[[Any], Awaitable[None]]
        _wait_writable: Callable[[int], asyncio.Future[None]]
        _end_wait: Callable[[int, asyncio.Future[None]], None]
        _check_sendfile_params: Callable[[Any, Any, int, int | None], None]
        create_future: Callable[[], asyncio.Future[None]]
        run_in_executor: Callable[..., Awaitable[Any]]

    async def _sock_sendfile_native(
        self, sock: Any, file: Any, offset: int, count: int | None
    ) -> int:
        number, size = _regular(file)
        if not (count or size):
            return 0
        return await _send(
            sock.fileno(), number, offset, count or None, size, lambda _: self._writable(sock)
        )

    async def _sendfile_native(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
        sock = transport.get_extra_info("socket")
        self._check_sendfile_params(sock, file, offset, count)
        _check_alone(transport)
        transport._set_sending_file(True)
        was_reading = transport.is_reading()
        try:
            number, size = _regular(file)
            # The protocol stays: it has what comes should somebody resume
            # reading, and hears of the end and of its own writes' going out.
            transport.pause_reading()
            if transport.get_write_buffer_size():
                await _unless_it_ends(transport, self.create_future())
            if not (count or size):
                return 0
            # A descriptor of its own, for its own watch: the transport's is
            # watched by the transport, and may be closed any time.
            out = os.dup(sock.fileno())
            try:
                return await _send(
                    out, number, offset, count, size, lambda fd: self._room(transport, fd)
                )
            finally:
                os.close(out)
        finally:
            transport._set_sending_file(False)
            if was_reading:
                transport.resume_reading()

    async def _room(self, transport: Any, fd: int) -> None:
        """Wait for room in a transport's socket, unless the transport ends."""
        ready = self._wait_writable(fd)
        try:
            await _unless_it_ends(transport, ready)
        finally:
            # Also if it was the end of the connection that woke us.
            self._end_wait(fd, ready)

    async def _sendfile_fallback(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
        _check_alone(transport)
        if offset:
            file.seek(offset)
        block = min(count, _BLOCK) if count else _BLOCK
        buffer = bytearray(block)
        total = 0
        interlude = _Interlude(transport)
        try:
            while not count or total < count:
                wanted = min(block, count - total) if count else block
                view = memoryview(buffer)[:wanted]
                read = await self.run_in_executor(None, file.readinto, view)
                if not read:
                    break
                await interlude.drain()
                transport.write(view[:read])
                total += read
        finally:
            if total > 0 and hasattr(file, "seek"):
                file.seek(offset + total)
            interlude.restore()
        return total


async def _unless_it_ends(transport: Any, waiter: asyncio.Future[None]) -> None:
    """Wait for `waiter`, which a transport wakes when all is sent or it ends."""
    _check_open(transport)
    transport._set_file_waiter(waiter)
    await waiter
    _check_open(transport)
