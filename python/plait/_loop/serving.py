"""Connections: made of accepted and connected sockets, with and without TLS."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.log
import asyncio.trsock
import errno
import socket
from contextvars import copy_context

# By name: tools that watch a loop for blocking calls replace them in `os`, and
# let asyncio's own file alone call them (blockbuster, in aiohttp's tests).
from os import close, stat, unlink
from typing import TYPE_CHECKING, Any

from plait._binding import native
from plait._loop.originals import is_own
from plait._loop.tls import TlsProtocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

__all__ = ["ServingMixin"]

# What accept() answers when a limit of the process or of the machine is
# reached. The connection stays in the queue of the socket: wait, try again.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# Those whose addresses the native half can tell.
_NATIVE_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

# A socket made as this knows that it does not block.
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


def _numeric(host: Any, port: Any) -> socket.AddressFamily | None:
    """Return the family of the address that `host` is, if nothing is to be looked up."""
    if type(host) is not str or type(port) is not int or not 0 < port < 1 << 16:
        return None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return None
    return family


def _accepts(sock: socket.socket) -> Callable[[bool], tuple[socket.socket, Any] | None]:
    """Return what accepts one connection and tells its peer; None if there is none.

    Its argument says whether an event has told of one.
    """

    def by_method(told: bool) -> tuple[socket.socket, Any] | None:
        try:
            connection, address = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        connection.setblocking(False)
        return connection, address

    if type(sock) is not socket.socket or sock.family not in _NATIVE_FAMILIES:
        return by_method

    family, kind, proto = int(sock.family), int(sock.type), sock.proto
    # A socket made with this flag knows that its number does not block.
    kind |= socket.SOCK_NONBLOCK
    accept = native.Loop._accept

    def natively(told: bool) -> tuple[socket.socket, Any] | None:
        if not is_own(socket.socket.accept):
            return by_method(told)
        accepted = accept(sock.fileno(), told)
        if accepted is None:
            return None
        number, address = accepted
        try:
            return socket.socket(family, kind, proto, number), address
        except BaseException:
            close(number)
            raise

    return natively


class ServingMixin:
    """What `asyncio.BaseEventLoop` asks of a loop to make connections."""

    # asyncio has them in its selector loop, written against the public calls
    # and the hooks below.
    create_unix_connection = asyncio.SelectorEventLoop.create_unix_connection
    create_unix_server = asyncio.SelectorEventLoop.create_unix_server

    # The servers whose file is removed with them, and its inode: the second of
    # these calls puts them here, from 3.13 on.
    _unix_server_sockets: dict[socket.socket, int]

    def _init_serving(self) -> None:
        self._unix_server_sockets = {}

    if TYPE_CHECKING:
        _add_reader: Callable[..., native.Handle]
        remove_reader: Callable[[Any], bool]
        call_later: Callable[..., native.TimerHandle]
        call_exception_handler: Callable[[dict[str, Any]], None]
        is_closed: Callable[[], bool]
        create_future: Callable[[], asyncio.Future[Any]]
        create_task: Callable[..., asyncio.Task[Any]]
        sock_connect: Callable[[socket.socket, Any], Awaitable[None]]
        get_debug: Callable[[], bool]

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Connect to `port` of `host`, or over a socket, as asyncio does.

        Args:
            protocol_factory: Makes the protocol.
            host: Whom to connect to.
            port: Where.
            **options: What `asyncio.loop.create_connection` takes.

        Returns:
            The transport and the protocol.

        Raises:
            OSError: There is no connection to be had.

        """
        # Tests put something in the place of the module that asyncio makes sockets with.
        plain = (
            not options and vars(asyncio.base_events)["socket"] is socket and not self.get_debug()
        )
        family = _numeric(host, port) if plain else None
        if family is None:
            connect: Callable[..., Awaitable[Any]] = asyncio.BaseEventLoop.create_connection
            made: tuple[asyncio.BaseTransport, asyncio.BaseProtocol]
            made = await connect(self, protocol_factory, host, port, **options)
            return made
        # One address and nothing to look up: what is left of asyncio's way.
        sock = socket.socket(family, _STREAM, socket.IPPROTO_TCP)
        try:
            scope = (0, 0) if family == socket.AF_INET6 else ()
            await self.sock_connect(sock, (host, port, *scope))
            protocol = protocol_factory()
            waiter = self.create_future()
            transport = self._make_socket_transport(sock, protocol, waiter)
        except BaseException:
            sock.close()
            raise
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol  # type: ignore[return-value]

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: asyncio.Server | None = None,
    ) -> native.SocketTransport:
        transport = native.SocketTransport(self, sock, protocol, waiter, extra, server)
        transport._start()
        return transport

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: asyncio.Server | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        tls = TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, tls, extra=extra, server=server)
        return tls._app_transport

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> native.DatagramTransport:
        transport = native.DatagramTransport(self, sock, protocol, address, waiter, extra)
        transport._start()
        return transport

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: asyncio.Server | None = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
    ) -> None:
        def make(connection: socket.socket, address: Any) -> None:
            extra = {"peername": address}
            protocol = protocol_factory()
            if sslcontext is None:
                self._make_socket_transport(connection, protocol, extra=extra, server=server)
                return
            waiter = self.create_future()
            self._make_ssl_transport(
                connection,
                protocol,
                sslcontext,
                waiter,
                server_side=True,
                extra=extra,
                server=server,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
            # The failure of a handshake is the protocol's and the debug log's.
            waiter.add_done_callback(_retrieve)

        def serve(connection: socket.socket, address: Any) -> None:
            try:
                make(connection, address)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                connection.close()
                self.call_exception_handler(
                    {
                        "message": "Error on transport creation for incoming connection",
                        "exception": error,
                        "socket": asyncio.trsock.TransportSocket(sock),
                    }
                )

        accepts = _accepts(sock)

        def accept() -> None:
            # As many as may wait in the socket's queue, then the others' turn.
            for count in range(max(backlog, 1)):
                try:
                    accepted = accepts(count == 0)
                except OSError as error:
                    if error.errno not in _OUT_OF_RESOURCES:
                        raise
                    self._pause_serving(sock, error, start)
                    return
                if accepted is None:
                    return
                if self.get_debug():
                    asyncio.log.logger.debug(
                        "%r got a new connection from %r: %r", server, *reversed(accepted)
                    )
                # What one connection sets in its context is no other's.
                copy_context().run(serve, *accepted)

        def start() -> None:
            # Closed, or given to somebody else, while serving was paused.
            if sock.fileno() != -1 and not self.is_closed():
                self._add_reader(sock.fileno(), accept)

        start()

    def _pause_serving(
        self, sock: socket.socket, error: OSError, again: Callable[[], None]
    ) -> None:
        self.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": error,
                "socket": asyncio.trsock.TransportSocket(sock),
            }
        )
        self.remove_reader(sock.fileno())
        self.call_later(asyncio.constants.ACCEPT_RETRY_DELAY, again)

    def _stop_serving(self, sock: socket.socket) -> None:
        inode = self._unix_server_sockets.pop(sock, None)
        path = sock.getsockname() if inode is not None else None
        self.remove_reader(sock.fileno())
        sock.close()
        if path is not None:
            _remove_socket_file(path, inode)


def _remove_socket_file(path: str, inode: int | None) -> None:
    """Remove the file of a server's socket, unless it is another's by now."""
    try:
        if stat(path).st_ino == inode:
            unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        asyncio.log.logger.error("Unable to clean up listening UNIX socket %r: %r", path, error)


def _retrieve(waiter: asyncio.Future[None]) -> None:
    """Mark the outcome as seen, so that nobody is told that nobody looked."""
    if not waiter.cancelled():
        waiter.exception()
