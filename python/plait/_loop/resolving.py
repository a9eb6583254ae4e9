"""Addresses and listening sockets: where the loop does more than asyncio's of this version."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any

from plait._loop.originals import is_own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ResolvingMixin"]

# Nothing is looked up, so the call does not wait for anybody.
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class ResolvingMixin:
    """Look-ups that need no thread, and servers with every option."""

    if TYPE_CHECKING:
        get_debug: Callable[[], bool]
        _numeric_address: Callable[..., list[Any] | None]

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's own name for it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a host and a port: numbers at once, names in a thread.

        Returns:
            What `socket.getaddrinfo` returns.

        Raises:
            socket.gaierror: There is no such host or service.

        """
        # A function in its place is to be asked, may take its time and knows
        # nothing of these flags.
        own = is_own(socket.getaddrinfo)
        found = own and self._numeric_address(host, port, family, type, proto, flags)
        if found:
            return found
        if own and not self.get_debug():
            try:
                return socket.getaddrinfo(host, port, family, type, proto, flags | _NUMERIC)
            except (OSError, UnicodeError):
                # A name; or wrong, which is for the call below to say.
                pass
        return await asyncio.BaseEventLoop.getaddrinfo(
            self,  # type: ignore[arg-type]
            host,
            port,
            family=family,
            type=type,
            proto=proto,
            flags=flags,
        )

    if sys.version_info < (3, 13):

        async def create_server(
            self,
            protocol_factory: Callable[[], asyncio.BaseProtocol],
            host: Any = None,
            port: Any = None,
            *,
            keep_alive: bool | None = None,
            start_serving: bool = True,
            **options: Any,
        ) -> asyncio.Server:
            """Listen for connections, as asyncio does.

            Args:
                protocol_factory: Makes the protocol of each connection.
                host: Where to listen; all interfaces if not given.
                port: The number, 0 for a free one.
                keep_alive: Have the kernel probe idle connections, as
                    asyncio's own has it from Python 3.13 on.
                start_serving: Accept connections at once.
                **options: What `asyncio.loop.create_server` takes.

            """
            create: Callable[..., Awaitable[asyncio.Server]] = asyncio.BaseEventLoop.create_server
            server = await create(
                self,
                protocol_factory,
                host,
                port,
                start_serving=start_serving and not keep_alive,
                **options,
            )
            if keep_alive:
                # Connections inherit it: set before the first can come.
                if options.get("sock") is None:
                    for sock in server.sockets:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
                if start_serving:
                    await server.start_serving()
            return server
