"""Debug mode tells of protocols that hold the loop up, on plait's loop as on asyncio's."""

import asyncio
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
