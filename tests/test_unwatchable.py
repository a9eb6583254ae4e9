"""A descriptor that the kernel refuses to watch: whoever opens a transport on it gets the error.

A socket object can be given any descriptor, and epoll takes no regular file. Exhausted limits
(max_user_watches, memory) refuse in the same place.
"""

import asyncio
import os
import socket
import tempfile

import pytest
from both_loops import Leaks, turns

import plait

PATIENCE = 30.0


class Told(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self):
        self.calls = []

    def connection_made(self, transport):
        self.calls.append("made")
        self.transport = transport

    def connection_lost(self, error):
        self.calls.append(type(error))


def false_socket(kind):
    """Return a socket object whose descriptor is a regular file's."""
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.setblocking(False)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), sock.fileno(), inheritable=False)
    return sock


def run(main):
    reported = []

    async def watched():
        asyncio.get_running_loop().set_exception_handler(lambda _, each: reported.append(each))
        await asyncio.wait_for(main(), PATIENCE)

    with Leaks():
        plait.run(watched())
    assert not reported


def connect(loop, protocol):
    return loop.create_connection(lambda: protocol, sock=false_socket(socket.SOCK_STREAM))


def accept(loop, protocol):
    return loop.connect_accepted_socket(lambda: protocol, false_socket(socket.SOCK_STREAM))


def bind(loop, protocol):
    return loop.create_datagram_endpoint(lambda: protocol, sock=false_socket(socket.SOCK_DGRAM))


@pytest.mark.parametrize("opens", [connect, accept, bind])
def test_who_opens_it_gets_the_error(opens):
    async def main():
        protocol = Told()
        with pytest.raises(PermissionError):
            await opens(asyncio.get_running_loop(), protocol)
        await turns()
        assert protocol.calls == ["made", PermissionError]
        assert protocol.transport.is_closing()
        assert "closed" in repr(protocol.transport)

    run(main)


@pytest.mark.parametrize("method", ["abort", "close"])
def test_a_protocol_that_gives_up_at_once(method):
    async def main():
        class Leaver(Told):
            def connection_made(self, transport):
                super().connection_made(transport)
                getattr(transport, method)()

        protocol = Leaver()
        await connect(asyncio.get_running_loop(), protocol)
        await turns()
        assert protocol.calls == ["made", type(None)]

    run(main)


def test_who_does_not_wait_any_more():
    async def main():
        protocol = Told()
        task = asyncio.ensure_future(connect(asyncio.get_running_loop(), protocol))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()
        assert protocol.calls[0] == "made"
        assert len(protocol.calls) == 2

    run(main)


def test_tls_over_it(contexts):
    _, client = contexts

    async def main():
        with pytest.raises(OSError, match=r"not permitted|non-socket"):
            await asyncio.get_running_loop().create_connection(
                asyncio.Protocol,
                sock=false_socket(socket.SOCK_STREAM),
                ssl=client,
                server_hostname="localhost",
            )
        await turns()

    run(main)
