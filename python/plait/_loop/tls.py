"""TLS: asyncio's protocol, the path of its data native.

`asyncio.sslproto.SSLProtocol` is right about handshakes, shutdown, timeouts and
what the application is told when, and each Python version brings its own. What
runs for every piece of data is `native.Tls` (transport/tls.rs), which stands
before it among the base classes and holds the attributes that both need.
`tests/test_loop_contract.py` lists what is relied on.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import collections
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from plait._binding import native

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SSLTransport", "StartTlsMixin", "TlsProtocol"]

# What one record gives; the read buffer for a transport that is not native.
_RECORD = 16 * 1024


class SSLTransport(asyncio.sslproto._SSLProtocolTransport):
    """What the application writes to."""

    if TYPE_CHECKING:
        _ssl_protocol: TlsProtocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt `data` and send it as soon as there is room."""
        self._ssl_protocol._write(data)


class TlsProtocol(native.Tls, asyncio.sslproto.SSLProtocol):
    """What stands between a transport and an application's protocol."""

    # asyncio reads into a buffer of this size, one for each connection. Here
    # it is made only if the transport asks for it: see `get_buffer`.
    max_size = 0

    if TYPE_CHECKING:
        # Attributes of `SSLProtocol` that the type library leaves out.
        _loop: asyncio.AbstractEventLoop
        _sslobj: ssl.SSLObject
        _incoming: ssl.MemoryBIO
        _outgoing: ssl.MemoryBIO
        _write_backlog: collections.deque[Any]
        _app_transport: SSLTransport
        _app_transport_created: bool
        _process_outgoing: Callable[[], None]
        _ssl_buffer: bytearray
        _ssl_buffer_view: memoryview

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what `SSLProtocol` takes."""
        asyncio.sslproto.SSLProtocol.__init__(self, *args, **kwargs)
        self._bind(self._sslobj, self._incoming, self._outgoing, self._write_backlog)
        self._is_upgrade = not kwargs.get("call_connection_made", True)

    def _get_app_transport(self) -> SSLTransport:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("the TLS connection has had its transport already")
            self._app_transport = SSLTransport(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def get_buffer(self, n: int) -> memoryview:
        """Give a transport that is not native (TLS inside TLS) its buffer."""
        if not self._ssl_buffer:
            self._ssl_buffer = bytearray(_RECORD)
            self._ssl_buffer_view = memoryview(self._ssl_buffer)
        return self._ssl_buffer_view

    def _do_read(self) -> None:
        # Once the handshake is done. Data can come with its last message: not
        # before who awaits `start_tls` has had its turn, for an application that
        # answers by the old transport would answer in the clear.
        if self._is_upgrade:
            self._is_upgrade = False
            self._process_outgoing()
            self._loop.call_soon(self._do_read)
        else:
            native.Tls._do_read(self)

    def _do_shutdown(self) -> None:
        # What the peer sent before it heard of our end is nobody's any more, but
        # OpenSSL ends nothing while it lies there, and asyncio's connection is
        # lost with an error then.
        with contextlib.suppress(ssl.SSLError):
            while self._sslobj.read(_RECORD):
                pass
        super()._do_shutdown()  # type: ignore[misc]


class StartTlsMixin:
    """`start_tls` with plait's protocol: asyncio's names its own class."""

    if TYPE_CHECKING:
        create_future: Any
        call_soon: Any

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport:
        """Turn a connection that is open into one with TLS.

        Args:
            transport: The transport to go on with; it belongs to the TLS layer
                from here on.
            protocol: What gets the decrypted data. Its `connection_made` is
                not called again.
            sslcontext: The settings, certificates included.
            server_side: Whether to wait for the handshake or to begin it.
            server_hostname: The name that the peer's certificate is checked
                against.
            ssl_handshake_timeout: Seconds, by default 60.
            ssl_shutdown_timeout: Seconds, by default 30.

        Returns:
            The transport that `protocol` must use from now on.

        Raises:
            TypeError: The context or the transport is of a wrong kind.
            ssl.SSLError: The handshake failed; the transport is closed.
            ConnectionError: It was not completed in time.

        """
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(
                f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
            )
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        tls = TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        # Nothing may reach the TLS layer before it knows its transport.
        transport.pause_reading()
        transport.set_protocol(tls)
        begin = self.call_soon(tls.connection_made, transport)
        resume = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            begin.cancel()
            resume.cancel()
            raise
        return tls._app_transport
