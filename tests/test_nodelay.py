"""Nagle's delay is off on every TCP connection, however its socket was made."""

from __future__ import annotations

import asyncio
import socket

import pytest

import plait


class Noting(asyncio.Protocol):
    """Notes whether its connection sends at once."""

    def __init__(self, seen: asyncio.Future[int]) -> None:
        self.seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        self.seen.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        transport.close()


@pytest.mark.parametrize("made", ["by the loop", "by socket.create_server"])
def test_connections_send_at_once(made: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted, connected = loop.create_future(), loop.create_future()
        where = (
            {"host": "127.0.0.1", "port": 0}
            if made == "by the loop"
            else {"sock": socket.create_server(("127.0.0.1", 0))}
        )
        server = await loop.create_server(lambda: Noting(accepted), **where)
        async with server:
            client = socket.create_connection(server.sockets[0].getsockname())
            client.setblocking(False)
            await loop.create_connection(lambda: Noting(connected), sock=client)
            assert (await accepted, await connected) == (1, 1)

    plait.run(main())


def test_a_unix_socket_is_left_alone() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            _, writer = await asyncio.open_connection(sock=ours)
            writer.close()
            await writer.wait_closed()

    plait.run(main())
