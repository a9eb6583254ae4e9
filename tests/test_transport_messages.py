"""What a protocol is given: objects of its own, whatever came before and comes after."""

import asyncio
import hashlib
import itertools
import random
import socket

import pytest

import plait
from plait._binding import native

TURNS = itertools.count()
KEEPS = {
    "nothing": lambda data: None,
    "all": lambda data: data,
    "a view": memoryview,
    "an iterator": iter,
    "a slice that is all of it": lambda data: data[:],
    "its hash, and nothing else": lambda data: hash(data) and None,
    "every other one": lambda data: data if next(TURNS) % 2 else None,
}


class Keeper(asyncio.Protocol):
    """Keeps what `keep` makes of each piece, and at the end of a message tells who waits."""

    def __init__(self, keep):
        self.keep = keep
        self.kept = []
        self.digest = hashlib.sha256()
        self.left = 0
        self.arrived = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes
        self.digest.update(data)
        kept = self.keep(data)
        if kept is not None:
            # A copy of what it is now, in other memory.
            self.kept.append((kept, bytearray(data), hash(data)))
        self.left -= len(data)
        if not self.left:
            self.arrived.set_result(None)


async def exchange(keep, sizes):
    """Send messages of these sizes, each once the one before has arrived."""
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    with peer:
        ours.setblocking(False)
        peer.setblocking(False)
        transport, protocol = await loop.create_connection(lambda: Keeper(keep), sock=ours)
        sent = hashlib.sha256()
        for size in sizes:
            message = random.randbytes(size)
            sent.update(message)
            protocol.left, protocol.arrived = size, loop.create_future()
            await loop.sock_sendall(peer, message)
            await protocol.arrived
        transport.abort()
    return protocol, sent.digest()


@pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize(
    "sizes",
    [
        [1] * 5,
        [2] * 5,
        [1024] * 20,
        [10240] * 20,
        [10240, 100, 10240, 8191, 8192, 8193, 8192, 1, 300_000, 300_000, 10241, 10240, 2, 2],
    ],
    ids=lambda sizes: f"{len(sizes)} from {sizes[0]}",
)
def test_messages_stay_as_they_came(run, keep, sizes):
    protocol, sent = run(exchange(keep, sizes))
    assert protocol.digest.digest() == sent
    for kept, copy, hashed in protocol.kept:
        value = bytes(kept)
        assert value == copy
        assert hash(value) == hashed


def test_hashes_are_of_the_contents(run):
    seen = {}

    def note(data):
        # As a key, and not kept: what the interpreter remembers of one
        # message must not be told of another.
        seen[hash(data)] = bytearray(data)

    run(exchange(note, [64] * 50))
    assert len(seen) == 50
    assert all(hash(bytes(copy)) == hashed for hashed, copy in seen.items())


def test_two_connections_do_not_share_what_they_keep(run):
    async def main():
        keep = [exchange(KEEPS["every other one"], [2048] * 30) for _ in range(3)]
        return await asyncio.gather(*keep)

    for protocol, sent in run(main()):
        assert protocol.digest.digest() == sent
        assert all(kept == copy for kept, copy, _ in protocol.kept)


def test_write_takes_its_argument_by_name_too(run):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with peer:
            ours.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            assert transport.write(data=b"a") is None
            assert type(transport).write(transport, b"b") is None
            for args, named in [((), {}), ((b"x", b"y"), {}), ((b"x",), {"data": b"y"})]:
                with pytest.raises(TypeError, match="write"):
                    transport.write(*args, **named)
            with pytest.raises(TypeError, match="bytes"):
                transport.write(bytes=b"x")
            with pytest.raises(TypeError, match="str"):
                transport.write("x")
            assert peer.recv(16) == b"ab"
            transport.abort()

    run(main())


def test_a_subclass_adds_to_write():
    class Louder(native.SocketTransport):
        def write(self, data):
            super().write(data.upper())

    async def main():
        ours, peer = socket.socketpair()
        with peer:
            ours.setblocking(False)
            protocol = asyncio.Protocol()
            transport = Louder(asyncio.get_running_loop(), ours, protocol)
            transport._start()
            transport.write(b"abc")
            assert peer.recv(16) == b"ABC"
            with pytest.raises(TypeError, match="'write'"):
                native.SocketTransport.write(object(), b"x")
            transport.abort()
            while ours.fileno() >= 0:
                await asyncio.sleep(0)

    plait.run(main())
