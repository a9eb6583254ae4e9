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


class _Interlude(asyncio.Protocol):
    """Takes the place of a transport's protocol while a file is sent.

    Its own protocol hears nothing meanwhile, but for the end.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._was_reading = transport.is_reading()
        self._was_paused = transport._protocol_paused
        self._limits = transport.get_write_buffer_limits()
        self._paused = self._was_paused
        self.waiting: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    def wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        self.check()
        while self._paused:
            self.waiting = asyncio.get_running_loop().create_future()
            await self.waiting
            self.check()

    async def drain_all(self) -> None:
        """Wait until nothing of the transport's own waits."""
        self._transport.set_write_buffer_limits(high=0)
        try:
            await self.drain()
        finally:
            low, high = self._limits
            self._transport.set_write_buffer_limits(high=high, low=low)

    def check(self) -> None:
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.wake()
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
        number, size = _regular(file)
        interlude = _Interlude(transport)
        try:
            await interlude.drain_all()
            if not (count or size):
                return 0
            # A descriptor of its own, for its own watch: the transport's is
            # watched by the transport, and may be closed any time.
            out = os.dup(transport.get_extra_info("socket").fileno())
            transport._set_sending_file(True)
            try:
                return await _send(
                    out, number, offset, count or None, size, _room_or_end(self, interlude)
                )
            finally:
                transport._set_sending_file(False)
                os.close(out)
        finally:
            interlude.restore()

    async def _sendfile_fallback(
        self, transport: Any, file: Any, offset: int, count: int | None
    ) -> int:
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


def _room_or_end(loop: SendfileMixin, interlude: _Interlude) -> Callable[[int], Awaitable[None]]:
    """Return what waits for room in a transport's socket, or for its end."""

    async def until_writable(fd: int) -> None:
        interlude.check()
        ready = interlude.waiting = loop._wait_writable(fd)
        try:
            await ready
        finally:
            # Also if it was the end of the connection that woke us.
            loop._end_wait(fd, ready)
        interlude.check()

    return until_writable
