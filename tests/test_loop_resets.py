"""A peer that resets its connection, in every state that ours can be in: what the protocol is told
is what asyncio's own loop tells it, and nothing stays behind."""

import asyncio
import socket
import ssl

import pytest
from both_loops import compare, noting, reset, turns

PLENTY = 1 << 22


async def accepted(record, before_made=None, hooks=None):
    """Return a transport, its protocol, and the plain TCP socket of the peer."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    factory = noting(record, hooks=hooks)

    def make():
        if before_made is not None:
            before_made(peer)
        return factory()

    transport, protocol = await loop.connect_accepted_socket(make, ours)
    return transport, protocol, peer


async def ended(record, transport, protocol):
    record.note("ended", await protocol.ended)
    record.note("closing", transport.is_closing(), transport.get_write_buffer_size())
    try:
        transport.write(b"goes nowhere")
    except RuntimeError as error:
        record.note("refused", error)
    transport.close()
    transport.abort()
    await turns()


async def before_accept(record):
    loop = asyncio.get_running_loop()
    factory = noting(record)
    made = loop.create_future()

    def make():
        protocol = factory()
        made.set_result(protocol)
        return protocol

    server = await loop.create_server(make, "127.0.0.1", 0)
    reset(socket.create_connection(server.sockets[0].getsockname()))
    protocol = await made
    await ended(record, await protocol.made, protocol)
    server.close()
    await server.wait_closed()


async def before_connection_made(record):
    transport, protocol, _ = await accepted(record, before_made=reset)
    await ended(record, transport, protocol)


async def inside_connection_made(record):
    peers = []
    hooks = {"connection_made": lambda protocol: reset(peers[0])}
    transport, protocol, _ = await accepted(record, before_made=peers.append, hooks=hooks)
    await ended(record, transport, protocol)


async def while_reading(record):
    transport, protocol, peer = await accepted(record)
    peer.send(b"x")
    while not protocol.received:
        await asyncio.sleep(0)
    reset(peer)
    await ended(record, transport, protocol)


async def inside_data_received(record):
    peers = []
    hooks = {"data_received": lambda protocol: (reset(peers[0]), protocol.transport.write(b"x"))}
    transport, protocol, peer = await accepted(record, before_made=peers.append, hooks=hooks)
    peer.send(b"x")
    await ended(record, transport, protocol)


async def with_a_full_outbox(record):
    transport, protocol, peer = await accepted(record)
    transport.write(bytes(PLENTY))
    await turns()
    reset(peer)
    await ended(record, transport, protocol)


async def paused(record):
    """Seen when reading goes on, and not before: nothing is asked of the kernel."""
    transport, protocol, peer = await accepted(record)
    transport.pause_reading()
    reset(peer)
    await turns()
    record.note("paused", protocol.ended.done())
    transport.resume_reading()
    await ended(record, transport, protocol)


async def paused_with_a_full_outbox(record):
    transport, protocol, peer = await accepted(record)
    transport.pause_reading()
    transport.write(bytes(PLENTY))
    await turns()
    reset(peer)
    await ended(record, transport, protocol)


async def after_write_eof(record):
    transport, protocol, peer = await accepted(record)
    transport.write_eof()
    reset(peer)
    await ended(record, transport, protocol)


async def after_write_eof_with_a_full_outbox(record):
    transport, protocol, peer = await accepted(record)
    transport.write(bytes(PLENTY))
    transport.write_eof()
    reset(peer)
    await ended(record, transport, protocol)


async def closing(record):
    transport, protocol, peer = await accepted(record)
    transport.write(bytes(PLENTY))
    transport.close()
    await turns()
    reset(peer)
    await ended(record, transport, protocol)


async def half_closed(record):
    transport, protocol, peer = await accepted(record)
    protocol.keep_open = True
    peer.shutdown(socket.SHUT_WR)
    await turns()
    reset(peer)
    transport.write(b"x")
    await turns()
    transport.write(b"x")
    await ended(record, transport, protocol)


STATES = [
    before_accept,
    before_connection_made,
    inside_connection_made,
    while_reading,
    inside_data_received,
    with_a_full_outbox,
    paused,
    paused_with_a_full_outbox,
    after_write_eof,
    after_write_eof_with_a_full_outbox,
    closing,
    half_closed,
]


@pytest.mark.parametrize("state", STATES, ids=[state.__name__ for state in STATES])
def test_a_reset(state):
    told = compare(state)
    assert told["reported"] == []
    assert [note[0] for note in told["notes"]].count("connection_lost") == 1


def hello(client_context):
    """Return the first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


async def failure(record, what, awaitable):
    try:
        await awaitable
    except OSError as error:
        record.note(what, isinstance(error, ConnectionError))
    else:
        record.note(what, "no error")


async def in_the_servers_handshake(record, contexts, flight):
    """Before anything, after half of the client's first flight, and after all of it."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    peer.send(hello(contexts[1])[:flight])
    task = asyncio.ensure_future(
        loop.connect_accepted_socket(noting(record), ours, ssl=contexts[0])
    )
    await turns(5)
    reset(peer)
    await failure(record, "server", task)
    await turns()


async def in_the_clients_handshake(record, contexts, start_tls):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        if start_tls:
            _, writer = await asyncio.open_connection(*address)
            handshake = writer.start_tls(contexts[1], server_hostname="localhost")
        else:
            handshake = asyncio.open_connection(
                *address, ssl=contexts[1], server_hostname="localhost"
            )
        task = asyncio.ensure_future(handshake)
        peer, _ = await asyncio.to_thread(listener.accept)
        # The client's first flight, so that it waits for the answer.
        assert await asyncio.to_thread(peer.recv, 1 << 16)
        reset(peer)
        await failure(record, "client", task)
        if start_tls:
            writer.close()
    await turns()


async def in_tls_data(record, contexts, full):
    loop = asyncio.get_running_loop()

    def client(address):
        sock = socket.create_connection(address)
        return contexts[1].wrap_socket(sock, server_hostname="localhost")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connecting = asyncio.create_task(asyncio.to_thread(client, listener.getsockname()))
        ours, _ = await asyncio.to_thread(listener.accept)
    ours.setblocking(False)
    transport, protocol = await loop.connect_accepted_socket(noting(record), ours, ssl=contexts[0])
    peer = await connecting
    peer.send(b"x")
    while not protocol.received:
        await asyncio.sleep(0)
    if full:
        transport.write(bytes(PLENTY))
        transport.write(bytes(PLENTY))
    await turns()
    reset(peer)
    record.note("ended", isinstance(await protocol.ended, ConnectionError))
    transport.write(b"goes nowhere")
    transport.close()
    transport.abort()
    await turns()


@pytest.mark.parametrize("flight", [0, 100, 10_000])
def test_a_reset_in_the_servers_handshake(flight, contexts):
    told = compare(in_the_servers_handshake, contexts, flight)
    assert ("server", True) in told["notes"]


@pytest.mark.parametrize("start_tls", [False, True])
def test_a_reset_in_the_clients_handshake(start_tls, contexts):
    told = compare(in_the_clients_handshake, contexts, start_tls)
    assert told["notes"] == [("client", True)]


@pytest.mark.needs_mended_model
@pytest.mark.parametrize("full", [False, True])
def test_a_reset_in_tls_data(full, contexts):
    told = compare(in_tls_data, contexts, full)
    assert ("ended", True) in told["notes"]
