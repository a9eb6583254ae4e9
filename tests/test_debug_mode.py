"""Debug mode tells of protocols that hold the loop up, on plait's loop as on asyncio's."""

import asyncio
import logging
import re
import socket
import time

import pytest


class Slow(asyncio.Protocol):
    """Takes its time in one of its methods."""

    def __init__(self, method):
        self.lost = asyncio.get_running_loop().create_future()
        self.method = method

    def take(self, method):
        if method == self.method:
            time.sleep(0.02)

    def connection_made(self, transport):
        self.transport = transport
        self.take("connection_made")

    def data_received(self, data):
        self.take("data_received")
        self.transport.close()

    def connection_lost(self, error):
        self.take("connection_lost")
        self.lost.set_result(None)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("method", ["connection_made", "data_received", "connection_lost"])
def test_a_slow_protocol_is_reported(loop, caplog, method, debug):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            _, protocol = await loop.connect_accepted_socket(lambda: Slow(method), ours)
            theirs.send(b"x")
            await protocol.lost
            await asyncio.sleep(0)

    loop.set_debug(debug)
    loop.slow_callback_duration = 0.02
    loop.run_until_complete(main())
    told = [line for line in caplog.messages if line.startswith("Executing ")]
    assert any(" took " in line for line in told) == debug, caplog.messages


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_connection_is_logged(loop, caplog, debug):
    """That it has come, and that its peer has no more to say."""
    caplog.set_level(logging.DEBUG, "asyncio")
    made = []

    def factory():
        made.append(Slow(None))
        return made[-1]

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server:
            sock = socket.create_connection(server.sockets[0].getsockname())
            with sock:
                peer = sock.getsockname()
                sock.shutdown(socket.SHUT_WR)
                while not made:
                    await asyncio.sleep(0)
                await made[0].lost
            return peer

    loop.set_debug(debug)
    peer = loop.run_until_complete(main())
    # As they were then: `caplog.messages` would show the sockets and transports of now.
    lines = [record.message for record in caplog.records]
    came = [line for line in lines if " got a new connection from " in line]
    ended = [line for line in lines if line.endswith(" received EOF")]
    if not debug:
        assert came == ended == []
        return
    [came], [ended] = came, ended
    assert re.fullmatch(
        rf"<Server sockets=.*> got a new connection from {re.escape(repr(peer))}: "
        rf"<socket.socket fd=\d+, .*raddr={re.escape(repr(peer))}>",
        came,
    )
    assert re.fullmatch(r"<\w*SocketTransport fd=\d+ read=polling write=<.*>> received EOF", ended)
