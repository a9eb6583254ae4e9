"""What the collector runs in the middle of a write: nothing is sent twice or out of order."""

import asyncio
import gc
import socket

import pytest

import plait

SIZE = 1 << 20


class Late:
    """Garbage that writes when the collector finds it."""

    def __init__(self, transport):
        self.transport = transport
        self.cycle = self

    def __del__(self):
        self.transport.write(b"late")


@pytest.mark.parametrize("make", [bytearray, lambda data: memoryview(bytearray(data))])
def test_a_finaliser_that_writes(make):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        peer.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        data = bytes(range(256)) * (SIZE // 256)
        sent = make(data)
        gc.collect()
        before = gc.get_threshold()
        Late(transport)
        gc.set_threshold(1)
        try:
            transport.write(sent)
        finally:
            gc.set_threshold(*before)
        gc.collect()
        transport.close()
        received = bytearray()
        while more := await loop.sock_recv(peer, SIZE):
            received += more
        peer.close()
        assert received in (data + b"late", b"late" + data)

    plait.run(asyncio.wait_for(main(), 30.0))
