"""A transport whose descriptor the kernel refuses to watch on: it ends, and its protocol is told.

Another file put under the number is such a case: epoll knows of no entry for it.
"""

import asyncio
import contextlib
import os
import socket

import pytest

import plait

PATIENCE = 30.0


class Told(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self):
        self.ended = asyncio.get_running_loop().create_future()

    def connection_lost(self, error):
        self.ended.set_result(error)


def run(main):
    plait.run(asyncio.wait_for(main, PATIENCE))


async def connected(kind=socket.SOCK_STREAM):
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    if kind == socket.SOCK_STREAM:
        transport, protocol = await loop.create_connection(Told, sock=ours)
    else:
        transport, protocol = await loop.create_datagram_endpoint(Told, sock=ours)
    return transport, protocol, ours, peer


def full(kind):
    """Return the two ends of a connection, the first of which has no room to send."""
    sock, peer = socket.socketpair(socket.AF_UNIX, kind)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while sock.send(bytes(1 << 12)):
            pass
    return sock, peer


@pytest.mark.parametrize("data", [[b"x"], [bytearray(b"x")], [b"x", b"y"]])
def test_bytes_that_have_to_wait(data):
    async def main():
        transport, protocol, ours, peer = await connected()
        other, others_peer = full(socket.SOCK_STREAM)
        os.dup2(other.fileno(), ours.fileno())
        transport.writelines(data)
        assert isinstance(await protocol.ended, OSError)
        assert transport.get_write_buffer_size() == 0
        for each in (peer, other, others_peer):
            each.close()

    run(main())


def test_a_datagram_that_has_to_wait():
    async def main():
        transport, protocol, ours, peer = await connected(socket.SOCK_DGRAM)
        other, others_peer = full(socket.SOCK_DGRAM)
        os.dup2(other.fileno(), ours.fileno())
        transport.sendto(b"x")
        assert isinstance(await protocol.ended, OSError)
        for each in (peer, other, others_peer):
            each.close()

    run(main())


def test_close_with_bytes_that_wait():
    async def main():
        transport, protocol, ours, peer = await connected()
        transport.write(bytes(1 << 20))
        assert transport.get_write_buffer_size() > 0
        ours.close()
        transport.close()
        assert isinstance(await protocol.ended, OSError)
        peer.close()

    run(main())


def test_a_pause_and_what_comes_after():
    async def main():
        transport, protocol, ours, peer = await connected()
        other, others_peer = socket.socketpair()
        transport.write(bytes(1 << 20))
        os.dup2(other.fileno(), ours.fileno())
        transport.pause_reading()
        assert isinstance(await protocol.ended, OSError)
        for each in (peer, other, others_peer):
            each.close()

    run(main())
