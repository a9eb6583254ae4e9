"""The `sock_*` calls: one operation of a non-blocking socket, awaited.

Each tries at once and waits only if the socket would block. The operation
itself always runs in the task that asked, so a task that is cancelled while it
waits has taken nothing from the socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Buffer

__all__ = ["SocketsMixin"]

T = TypeVar("T")


async def _connect_unix(sock: socket.socket, address: Any) -> None:
    """Connect to a Unix socket.

    Such a connection is made at once, or refused, or there is no room in the
    server's queue (EAGAIN, unix(7)): nothing is in progress then, and no event
    tells of room, so the call is repeated until there is some.
    """
    delay = 0.001
    while True:
        try:
            sock.connect(address)
        except BlockingIOError:
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.05)
        except InterruptedError:
            pass
        else:
            return


class SocketsMixin:
    """The `sock_*` calls of the loop."""

    if TYPE_CHECKING:
        _try_recv: Callable[[socket.socket, int], Any]
        _try_recv_into: Callable[[socket.socket, Any], Any]
        _try_send: Callable[[socket.socket, Any, int], Any]
        _try_connect: Callable[[socket.socket, Any], Any]
        _wait_readable: Callable[[int], asyncio.Future[None]]
        _wait_writable: Callable[[int], asyncio.Future[None]]
        _end_wait: Callable[[int, asyncio.Future[None]], None]
        _ensure_resolved: Callable[..., Awaitable[Any]]
        _check_closed: Callable[[], None]
        get_debug: Callable[[], bool]

    async def _readable(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        ready = self._wait_readable(fd)
        try:
            await ready
        except BaseException:
            self._end_wait(fd, ready)
            raise

    async def _writable(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        ready = self._wait_writable(fd)
        try:
            await ready
        except BaseException:
            self._end_wait(fd, ready)
            raise

    async def _attempt(
        self,
        sock: socket.socket,
        wait: Callable[[socket.socket], Awaitable[None]],
        operation: Callable[[], T],
    ) -> T:
        self._check_socket(sock)
        while True:
            try:
                return operation()
            except (BlockingIOError, InterruptedError):
                await wait(sock)

    def _check_socket(self, sock: socket.socket) -> None:
        self._check_closed()
        if isinstance(sock, ssl.SSLSocket):
            # It reads more than it gives: readiness says nothing of it.
            raise TypeError("Socket cannot be of type SSLSocket: use a TLS transport")
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    async def sock_recv(self, sock: socket.socket, nbytes: int) -> bytes:
        """Receive up to `nbytes` bytes; ``b""`` at the end of the input."""
        while (data := self._try_recv(sock, nbytes)) is None:
            await self._readable(sock)
        if data is not NotImplemented:
            return data  # type: ignore[no-any-return]
        return await self._attempt(sock, self._readable, lambda: sock.recv(nbytes))

    async def sock_recv_into(self, sock: socket.socket, buf: Buffer) -> int:
        """Receive into `buf`; return the number of bytes."""
        while (count := self._try_recv_into(sock, buf)) is None:
            await self._readable(sock)
        if count is not NotImplemented:
            return count  # type: ignore[no-any-return]
        return await self._attempt(sock, self._readable, lambda: sock.recv_into(buf))

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive one datagram of up to `bufsize` bytes; return it and its sender."""
        return await self._attempt(sock, self._readable, lambda: sock.recvfrom(bufsize))

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: Buffer, nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive one datagram into `buf`; return its size in bytes and its sender."""
        if not nbytes:
            nbytes = memoryview(buf).nbytes
        return await self._attempt(sock, self._readable, lambda: sock.recvfrom_into(buf, nbytes))

    async def sock_sendall(self, sock: socket.socket, data: Buffer) -> None:
        """Send all of `data`. After an error nobody knows how much was sent."""
        if type(data) is bytes:
            size, start = len(data), 0
            while start < size:
                sent = self._try_send(sock, data, start)
                if sent is NotImplemented:
                    break
                if sent == start:
                    await self._writable(sock)
                start = sent
            else:
                self._check_socket(sock)
                return
            data = memoryview(data)[start:]
        with memoryview(data).cast("B") as view:
            self._check_socket(sock)
            sent = 0

            def send() -> int:
                return sock.send(view[sent:])

            while sent < len(view):
                sent += await self._attempt(sock, self._writable, send)

    async def sock_sendto(self, sock: socket.socket, data: Buffer, address: Any) -> int:
        """Send one datagram to `address`; return the number of bytes."""
        return await self._attempt(sock, self._writable, lambda: sock.sendto(data, address))

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept one connection; return its (non-blocking) socket and its peer."""
        connection, address = await self._attempt(sock, self._readable, lambda: sock.accept())
        connection.setblocking(False)
        return connection, address

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to `address`, whose host name is looked up first."""
        self._check_socket(sock)
        connected = self._try_connect(sock, address)
        if connected is not NotImplemented:
            if not connected:
                await self._connected(sock, address)
            return
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            resolved = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            _, _, _, _, address = resolved[0]
        elif sock.family == socket.AF_UNIX:
            await _connect_unix(sock, address)
            return
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            await self._connected(sock, address)

    async def _connected(self, sock: socket.socket, address: Any) -> None:
        """Wait for the outcome of a connection that is under way."""
        await self._writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            # OSError picks its subclass by the number, as connect() does.
            raise OSError(error, f"Connect call failed {address}") from None
