"""A socket that is closed behind its transport's back, whose number is another's then.

asyncio asks the socket for each call, which answers EBADF once it is closed: nobody reads from or
writes to the one that has the number now.
"""

import asyncio
import errno
import os
import socket

import pytest

import plait

PATIENCE = 30.0


class Told(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.got = b""
        self.errors = []
        self.ended = self.loop.create_future()

    def data_received(self, data):
        self.got += data

    def error_received(self, error):
        self.errors.append(error)

    def connection_lost(self, error):
        self.ended.set_result(error)


class Buffered(Told, asyncio.BufferedProtocol):
    """Closes its socket when it is asked for a buffer, unless it was closed before."""

    on_get = staticmethod(lambda: None)

    def get_buffer(self, size):
        self.on_get()
        self.buffer = bytearray(100)
        return self.buffer

    def buffer_updated(self, count):
        self.got += self.buffer[:count]


async def connected(factory=Told, kind=socket.SOCK_STREAM):
    """Return a transport, its protocol, its socket and its peer's."""
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    ours.setblocking(False)
    peer.setblocking(False)
    if kind == socket.SOCK_STREAM:
        transport, protocol = await loop.create_connection(factory, sock=ours)
    else:
        transport, protocol = await loop.create_datagram_endpoint(factory, sock=ours)
    return transport, protocol, ours, peer


def closed_and_used_again(sock):
    """Close `sock`; return the two ends of another connection, the first with its number."""
    number = sock.fileno()
    heir, peer = socket.socketpair()
    sock.close()
    os.dup2(heir.fileno(), number)
    heir.close()
    heir = socket.socket(fileno=number)
    heir.setblocking(False)
    peer.setblocking(False)
    return heir, peer


def nothing_in(sock):
    with pytest.raises(BlockingIOError):
        sock.recv(100)
    return True


DATA = pytest.mark.parametrize("data", [b"secret", bytearray(b"secret"), memoryview(b"secret")])


@DATA
def test_writes(run, data):
    async def main():
        transport, protocol, ours, peer = await connected()
        heir, heirs_peer = closed_and_used_again(ours)
        transport.write(data)
        error = await asyncio.wait_for(protocol.ended, PATIENCE)
        assert error.errno == errno.EBADF
        assert nothing_in(heirs_peer)
        for each in (heir, heirs_peer, peer):
            each.close()

    run(main())


@DATA
def test_writes_beside_the_transport_that_has_the_number(data):
    # asyncio's loop may refuse to make a second one.
    async def main():
        transport, protocol, ours, peer = await connected()
        heir, heirs_peer = closed_and_used_again(ours)
        theirs, heirs = await asyncio.get_running_loop().create_connection(Told, sock=heir)
        transport.write(data)
        error = await protocol.ended
        assert error.errno == errno.EBADF
        assert nothing_in(heirs_peer)
        theirs.write(b"mine")
        assert heirs_peer.recv(100) == b"mine"
        theirs.close()
        assert await heirs.ended is None
        for each in (heirs_peer, peer):
            each.close()

    plait.run(asyncio.wait_for(main(), PATIENCE))


def test_what_waits_to_be_sent():
    # asyncio's loop does not hear of the room.
    async def main():
        transport, protocol, ours, peer = await connected()
        transport.write(bytes(1 << 20))
        # Its room is told of all the same: the kernel watches what it was.
        kept = os.dup(ours.fileno())
        heir, heirs_peer = closed_and_used_again(ours)
        while not protocol.ended.done():
            await asyncio.sleep(0)
            try:
                while peer.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
        assert protocol.ended.result().errno == errno.EBADF
        assert nothing_in(heirs_peer)
        os.close(kept)
        for each in (heir, heirs_peer, peer):
            each.close()

    plait.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("protocol_class", [Told, Buffered])
def test_reads(run, protocol_class):
    async def main():
        _, protocol, ours, peer = await connected(protocol_class)
        # What it was lives on, so there is input to be told of.
        kept = os.dup(ours.fileno())
        heir, heirs_peer = closed_and_used_again(ours)
        heirs_peer.send(b"not yours")
        peer.send(b"wake up")
        error = await asyncio.wait_for(protocol.ended, PATIENCE)
        assert error.errno == errno.EBADF
        assert protocol.got == b""
        assert heir.recv(100) == b"not yours"
        os.close(kept)
        for each in (heir, heirs_peer, peer):
            each.close()

    run(main())


def test_closed_by_get_buffer(run):
    async def main():
        _, protocol, ours, peer = await connected(Buffered)
        heirs = []

        def close():
            heirs.extend(closed_and_used_again(ours))
            heirs[1].send(b"not yours")

        protocol.on_get = close
        peer.send(b"wake up")
        error = await asyncio.wait_for(protocol.ended, PATIENCE)
        assert error.errno == errno.EBADF
        assert protocol.got == b""
        assert heirs[0].recv(100) == b"not yours"
        for each in (*heirs, peer):
            each.close()

    run(main())


def test_datagrams():
    # asyncio sends nothing to a peer without a name.
    async def main():
        transport, protocol, ours, peer = await connected(kind=socket.SOCK_DGRAM)
        heir, heirs_peer = closed_and_used_again(ours)
        transport.sendto(b"secret")
        assert nothing_in(heirs_peer)
        assert [error.errno for error in protocol.errors] == [errno.EBADF]
        transport.abort()
        await asyncio.wait_for(protocol.ended, PATIENCE)
        for each in (heir, heirs_peer, peer):
            each.close()

    plait.run(asyncio.wait_for(main(), PATIENCE))


def test_detached(run):
    async def main():
        transport, protocol, ours, peer = await connected()
        number = ours.detach()
        transport.write(b"secret")
        error = await asyncio.wait_for(protocol.ended, PATIENCE)
        assert error.errno == errno.EBADF
        assert nothing_in(peer)
        os.close(number)
        peer.close()

    run(main())
