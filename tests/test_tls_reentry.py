"""Protocols that act on their own TLS connection inside their callbacks: the outcome is that of
asyncio's own loop, on the server's side and on the client's."""

import asyncio
import contextlib

import pytest
from both_loops import compare, noting, turns

ACTIONS = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write and close": lambda transport: (transport.write(b"bye"), transport.close()),
    "pause": lambda transport: transport.pause_reading(),
}
# Where asyncio's own TLS transport is no model: a client aborted in `connection_made` waits for
# its handshake for good, and what is written while the peer closes may meet its end or not.
CASES = [
    ("connection_made", "close"),
    ("connection_made", "pause"),
    ("data_received", "close"),
    ("data_received", "abort"),
    ("data_received", "write and close"),
    ("data_received", "pause"),
    ("eof_received", "close"),
    ("eof_received", "abort"),
    ("connection_lost", "close"),
    ("connection_lost", "abort"),
    ("connection_lost", "write and close"),
]
MUCH = 1_000_000


def once(record, action):
    called = []

    def hook(protocol):
        if called:
            return
        called.append(True)
        action(protocol.transport)
        record.note("acted", protocol.transport.is_closing())

    return hook


async def peer(reader, writer):
    """Say hello, take what comes, and end when the other does or nothing more is due."""
    received = 0
    with contextlib.suppress(ConnectionError):
        writer.write(b"hello")
        while received < MUCH and (data := await reader.read(1 << 16)):
            received += len(data)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return received


async def act(record, protocol):
    """Write more than is taken at once."""
    await protocol.made
    await turns()
    if not protocol.transport.is_closing():
        protocol.transport.write(bytes(MUCH))
    await turns(30)
    # Who paused inside a callback goes on here.
    if not protocol.transport.is_closing():
        protocol.transport.resume_reading()
    await protocol.ended
    await turns()
    record.note("closing", protocol.transport.is_closing())


async def server_side(record, contexts, hooks):
    server_context, client_context = contexts
    made = asyncio.get_running_loop().create_future()
    factory = noting(record, hooks=hooks)

    def make():
        made.set_result(factory())
        return made.result()

    server = await asyncio.get_running_loop().create_server(
        make, "127.0.0.1", 0, ssl=server_context
    )
    address = server.sockets[0].getsockname()

    async def connect():
        streams = await asyncio.open_connection(
            *address, ssl=client_context, server_hostname="localhost"
        )
        return await peer(*streams)

    received = asyncio.ensure_future(connect())
    await act(record, await made)
    record.note("received all", await outcome(received))
    server.close()
    await server.wait_closed()


async def client_side(record, contexts, hooks):
    server_context, client_context = contexts
    received = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        received.set_result(await peer(reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    made = []
    factory = noting(record, hooks=hooks)

    def make():
        made.append(factory())
        return made[0]

    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().create_connection(
            make, *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
    await act(record, made[0])
    record.note("received all", await outcome(received))
    server.close()
    await server.wait_closed()
    await turns()


async def outcome(received):
    """Return whether all came over; an abort may leave the peer without a connection."""
    try:
        return await received >= MUCH
    except ConnectionError:
        return False


@pytest.mark.needs_mended_model
@pytest.mark.parametrize("side", [server_side, client_side])
@pytest.mark.parametrize(("method", "action"), CASES)
def test_a_protocol_acts_inside(side, method, action, contexts):
    # Tickets that a client has not read when it closes turn its end into a reset.
    contexts[0].num_tickets = 0

    async def scenario(record):
        await side(record, contexts, {method: once(record, ACTIONS[action])})

    told = compare(scenario)
    assert (method,) in [note[:1] for note in told["notes"]]
