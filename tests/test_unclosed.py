"""Transports that nobody has closed warn when they are collected, as asyncio's do."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
import warnings
import weakref

import pytest
from both_loops import FACTORIES

import plait


def pipe():
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb", 0), os.fdopen(writer, "wb", 0)


async def connection(loop, protocol):
    ours, theirs = socket.socketpair()
    return (await loop.connect_accepted_socket(protocol, ours))[0], theirs, ours


async def datagram(loop, protocol):
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    return (await loop.create_datagram_endpoint(protocol, sock=ours))[0], theirs, ours


async def read_pipe(loop, protocol):
    ours, theirs = pipe()
    return (await loop.connect_read_pipe(protocol, ours))[0], theirs, ours


async def write_pipe(loop, protocol):
    theirs, ours = pipe()
    return (await loop.connect_write_pipe(protocol, ours))[0], theirs, ours


class Told(asyncio.Protocol, asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport


@pytest.fixture(params=FACTORIES)
def loop(request):
    loop = FACTORIES[request.param]()
    yield loop
    loop.close()


def collected(make_garbage):
    """What is warned of while `make_garbage` runs and what it leaves is collected."""
    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        make_garbage()
        gc.collect()
    return told


@pytest.mark.parametrize("make", [connection, datagram, read_pipe, write_pipe])
@pytest.mark.parametrize("protocol", [asyncio.BaseProtocol, Told], ids=["counted", "in a cycle"])
def test_one_that_was_left(loop, make, protocol):
    if make is datagram and protocol is asyncio.BaseProtocol:
        protocol = asyncio.DatagramProtocol
    transport, theirs, ours = loop.run_until_complete(make(loop, protocol))
    said = f"unclosed transport <{type(transport).__name__} ", f" fd={ours.fileno()}"
    # What watches it has to go.
    loop.close()
    held = [transport]
    del transport
    told = collected(held.clear)
    theirs.close()
    assert [each.category for each in told] == [ResourceWarning]
    message = str(told[0].message)
    assert message.startswith(said[0])
    assert said[1] in message
    assert type(told[0].source).__name__ in said[0]
    assert ours.closed if hasattr(ours, "closed") else ours.fileno() == -1


@pytest.mark.parametrize("make", [connection, datagram, read_pipe, write_pipe])
def test_one_that_was_closed(loop, make):
    async def main():
        transport, theirs, _ = await make(loop, Told)
        transport.close()
        theirs.close()
        await asyncio.sleep(0.001)

    assert collected(lambda: loop.run_until_complete(main())) == []


def test_the_server_forgets_it():
    made = []

    class Counted(Told):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(weakref.ref(transport))

    async def main():
        server = await asyncio.get_running_loop().create_server(Counted, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        while not made:
            await asyncio.sleep(0.001)
        server.close()
        return server, client

    loop = plait.new_event_loop()
    server, client = loop.run_until_complete(main())
    assert count(server) == 1
    told = collected(loop.close)
    assert [str(each.message)[:18] for each in told] == ["unclosed transport"]
    assert count(server) == 0
    assert made[0]() is None
    client.close()


def count(server):
    """How many connections the server has."""
    return len(server._clients) if sys.version_info >= (3, 13) else server._active_count


def test_a_subclass_with_an_end_of_its_own():
    ended = []

    class Own(plait._native.SocketTransport):
        def __del__(self):
            ended.append(self.is_closing())
            super().__del__()

    loop = plait.new_event_loop()
    ours, theirs = socket.socketpair()
    held = [Own(loop, ours, asyncio.Protocol())]
    told = collected(held.clear)
    assert ended == [False]
    assert [each.category for each in told] == [ResourceWarning]
    assert ours.fileno() == -1
    theirs.close()
    loop.close()


def test_a_warning_that_is_an_error_does_not_keep_it_open():
    program = """
import asyncio, gc, socket, plait
loop = plait.new_event_loop()
ours, theirs = socket.socketpair()
transport, _ = loop.run_until_complete(loop.connect_accepted_socket(asyncio.Protocol, ours))
loop.close()
del transport
gc.collect()
print(ours.fileno())
theirs.close()
"""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ImportWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout == "-1\n", answer.stderr
    assert "unclosed transport <SocketTransport" in answer.stderr


def test_one_that_is_left_to_the_end_of_the_program():
    program = """
import asyncio, socket, plait
loop = plait.new_event_loop()
ours, theirs = socket.socketpair()
transport, _ = loop.run_until_complete(loop.connect_accepted_socket(asyncio.Protocol, ours))
loop.close()
theirs.close()
"""
    answer = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    assert "ResourceWarning: unclosed transport <SocketTransport" in answer.stderr
