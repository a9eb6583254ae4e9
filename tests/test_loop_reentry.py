"""Protocols that act on their own connection inside their callbacks, and sockets that fail there:
the outcome is that of asyncio's own loop."""

import asyncio
import contextlib
import socket

import pytest
from both_loops import compare, noting, turns

METHODS = (
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)
ACTIONS = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "close and abort": lambda transport: (transport.close(), transport.abort()),
    "write and close": lambda transport: (transport.write(b"bye"), transport.close()),
    "write_eof": lambda transport: transport.write_eof(),
    "write much": lambda transport: transport.write(bytes(300_000)),
    "write often": lambda transport: [transport.write(b"x") for _ in range(7)],
    "pause": lambda transport: transport.pause_reading(),
    "limits": lambda transport: transport.set_write_buffer_limits(0),
}
MUCH = 400_000


async def read_all(peer):
    loop = asyncio.get_running_loop()
    count = 0
    try:
        while data := await loop.sock_recv(peer, 1 << 16):
            count += len(data)
    except ConnectionError:
        return count
    return count


async def conversation(record, hooks):
    """Let every method be called whose turn comes; note what was told, and what came over."""
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    for sock in (ours, peer):
        sock.setblocking(False)
    transport, protocol = await loop.create_connection(noting(record, hooks=hooks), sock=ours)
    with peer:
        with contextlib.suppress(BrokenPipeError):  # closed in connection_made
            peer.send(b"hello")
        await turns()
        try:
            transport.write(bytes(MUCH))
        except RuntimeError as error:
            record.note("refused", error)
        reading = asyncio.create_task(read_all(peer))
        await turns()
        transport.resume_reading()
        try:
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            record.note("gone")
        await turns()
        transport.resume_reading()
        await protocol.ended
        await turns()
        record.note("paused", transport.is_reading(), transport.is_closing())
        sent = await reading
        # What an abort leaves unsent depends on the size of the kernel's buffers.
        record.note("received", sent > 0, sent >= MUCH)


def once(action):
    called = []

    def hook(protocol):
        if not called:
            called.append(True)
            action(protocol.transport)

    return hook


@pytest.mark.needs_mended_model
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_protocol_acts_inside(method, action):
    async def scenario(record):
        await conversation(record, {method: once(ACTIONS[action])})

    # asyncio up to 3.12 goes on to use the socket that the protocol has just closed.
    told = compare(scenario, spared=("AttributeError",))
    assert (method,) in [note[:1] for note in told["notes"]]


def test_another_protocol_from_inside_data_received():
    async def scenario(record):
        second = noting(record)()
        hooks = {"data_received": lambda protocol: protocol.transport.set_protocol(second)}
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        transport, _ = await loop.create_connection(noting(record, hooks=hooks), sock=ours)
        peer.send(b"for the first")
        await turns()
        second.transport = transport
        peer.send(b"for the second")
        await turns()
        record.note("second", second.received)
        peer.close()
        await second.ended

    told = compare(scenario)
    assert ("second", len(b"for the second")) in told["notes"]


def test_a_buffered_protocol_in_place_of_a_plain_one():
    async def scenario(record):
        second = noting(record, asyncio.BufferedProtocol)()
        hooks = {"data_received": lambda protocol: protocol.transport.set_protocol(second)}
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        await loop.create_connection(noting(record, hooks=hooks), sock=ours)
        peer.send(b"1")
        await turns()
        peer.send(b"22")
        await turns()
        record.note("second", second.received)
        peer.close()
        await second.ended

    compare(scenario)


class Failing(socket.socket):
    """A socket whose `shutdown` or `close` fails, as after a reset."""

    method = "shutdown"
    failed = False

    def shutdown(self, how):
        if self.method == "shutdown":
            self.failed = True
            raise OSError(107, "Transport endpoint is not connected")
        super().shutdown(how)

    def close(self):
        super().close()
        if self.method == "close" and not self.failed:
            self.failed = True
            raise OSError(5, "Input/output error")


@pytest.mark.parametrize("method", ["shutdown", "close"])
def test_a_socket_that_fails_does_not_end_the_run(method):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        plain, peer = socket.socketpair()
        ours = Failing(fileno=plain.detach())
        ours.method = method
        ours.setblocking(False)
        peer.setblocking(False)
        transport, protocol = await loop.create_connection(noting(record), sock=ours)
        transport.write(bytes(MUCH))
        if method == "shutdown":
            # The socket is shut down when the last byte has gone.
            transport.write_eof()
        else:
            transport.close()
        with peer:
            left = MUCH
            while left:
                left -= len(await loop.sock_recv(peer, 1 << 16))
            await turns()
            transport.abort()
            await protocol.ended
            await turns()
        record.note("failed", ours.failed)

    # asyncio tells the protocol of the end a second time.
    told = compare(scenario, spared=("InvalidStateError",))
    assert ("failed", True) in told["notes"]
    assert told["reported"] == [("Exception in callback", "OSError")]
