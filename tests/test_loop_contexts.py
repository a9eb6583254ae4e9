"""Which context a connection's code runs in: on plait's loop it is that of asyncio's own."""

import asyncio
import contextlib
import contextvars
import os
import socket
import sys

import pytest
from both_loops import compare, noting, turns

VAR = contextvars.ContextVar("VAR", default="nobody's")


class Client:
    """A blocking peer that says a word, and reads until the other side is done."""

    def __init__(self, tls):
        self.tls = tls

    def __call__(self, family, address):
        with socket.socket(family) as sock:
            sock.settimeout(20)
            sock.connect(address)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname="localhost")
            with sock:
                sock.sendall(b"hello")
                while sock.recv(1 << 10):
                    pass


async def two_visits(record, kind, folder, contexts):
    """Serve two peers, one after the other; the first protocol's factory sets the variable."""
    loop = asyncio.get_running_loop()
    made = []

    def see(what):
        return lambda protocol: record.note(what, VAR.get())

    def answer(protocol):
        see("data_received")(protocol)
        protocol.transport.close()

    methods = {
        "connection_made": see("connection_made"),
        "data_received": answer,
        "connection_lost": see("connection_lost"),
    }

    def factory():
        record.note("factory", VAR.get())
        if not made:
            VAR.set("the first's")
        made.append(noting(record, hooks=methods)())
        return made[-1]

    server_context, client_context = contexts if kind == "tls" else (None, None)
    VAR.set("the server's")
    if kind == "unix":
        server = await loop.create_unix_server(factory, str(folder / "socket"))
    else:
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context)
    VAR.set("nobody's any more")
    [listening] = server.sockets
    family, address = listening.family, listening.getsockname()
    for _ in range(2):
        await asyncio.to_thread(Client(client_context), family, address)
        await made[-1].ended
    server.close()
    await server.wait_closed()
    if kind == "unix" and sys.version_info < (3, 13):
        os.unlink(address)


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_what_a_factory_sets_is_its_connections_alone(kind, tmp_path, contexts):
    told = compare(two_visits, kind, tmp_path, contexts)
    whats = ["connection_made", "data_received", "connection_lost"]
    seen = [note for note in told["notes"] if len(note) == 2 and note[1] is not None]
    assert seen == [
        ("factory", "the server's"),
        *((what, "the first's") for what in whats),
        ("factory", "the server's"),
        *((what, "the server's") for what in whats),
    ]


def noting_reports(record):
    """Have the exception handler note the variable."""

    def handle(_, context):
        record.note("handler", VAR.get(), context.get("exception"))

    asyncio.get_running_loop().set_exception_handler(handle)


async def refused_visit(record):
    """Have a factory raise, which is asyncio's to report in debug mode."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    noting_reports(record)
    came = loop.create_future()

    def factory():
        came.set_result(None)
        VAR.set("the connection's")
        raise ZeroDivisionError

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await came
        await turns()
    server.close()
    await server.wait_closed()


# asyncio's loop leaves the socket to the collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_factory_that_raises_is_reported_in_the_connections_context():
    told = compare(refused_visit)
    assert told["notes"] == [("handler", "the connection's", "ZeroDivisionError")]


def planted(protocol):
    raise ZeroDivisionError


async def in_context(value, main):
    """Await `main` in a context of its own, in which the variable has the value."""
    context = contextvars.copy_context()
    context.run(VAR.set, value)
    return await asyncio.get_running_loop().create_task(main, context=context)


async def raising_connection(record, base, method):
    """Have one method of a connection's protocol raise."""
    noting_reports(record)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    factory = noting(record, base, {method: planted})
    with theirs:
        making = loop.create_connection(factory, sock=ours)
        _, protocol = await in_context("the connection's", making)
        theirs.send(b"hello")
        await turns()
        theirs.shutdown(socket.SHUT_WR)
        await protocol.ended
        await turns()


METHODS = ("connection_made", "eof_received", "connection_lost")
PAIRS = [
    *((asyncio.Protocol, method) for method in (*METHODS, "data_received")),
    *((asyncio.BufferedProtocol, method) for method in (*METHODS, "get_buffer", "buffer_updated")),
]


@pytest.mark.parametrize(("base", "method"), PAIRS)
def test_the_exception_handler_is_in_the_connections_context(base, method):
    told = compare(raising_connection, base, method)
    [where] = [note[1] for note in told["notes"] if note[0] == "handler"]
    # What raises out of a callback of the loop is told outside of it by Python 3.11.
    outside = sys.version_info < (3, 12) and method in ("connection_made", "connection_lost")
    assert where == ("nobody's" if outside else "the connection's")


async def raising_over_tls(record, base, method, contexts):
    """Have one method of a protocol raise that a TLS server has made."""
    noting_reports(record)
    loop = asyncio.get_running_loop()
    server_context, client_context = contexts
    made = []

    def end(protocol):
        protocol.transport.close()

    def factory():
        VAR.set("the connection's")
        received = "data_received" if base is asyncio.Protocol else "buffer_updated"
        made.append(noting(record, base, {received: end, method: planted})())
        return made[-1]

    def visit(address):
        with contextlib.suppress(OSError):
            Client(client_context)(socket.AF_INET, address)

    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context)
    await asyncio.to_thread(visit, server.sockets[0].getsockname())
    [protocol] = made
    await protocol.ended
    await turns()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(("base", "method"), [pair for pair in PAIRS if pair[1] != "eof_received"])
def test_the_exception_handler_is_in_a_tls_connections_context(base, method, contexts):
    told = compare(raising_over_tls, base, method, contexts)
    handled = [note[1] for note in told["notes"] if note[0] == "handler"]
    outside = sys.version_info < (3, 12) and method == "connection_lost"
    assert set(handled) == {"nobody's" if outside else "the connection's"}


async def raising_pause(record, inside):
    """Write too much from the protocol's own method, or from elsewhere; `pause_writing` raises."""
    noting_reports(record)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def write(protocol):
        protocol.transport.write(bytes(1 << 22))

    hooks = {"pause_writing": planted}
    if inside:
        hooks["data_received"] = write
    with theirs:
        making = loop.create_connection(noting(record, hooks=hooks), sock=ours)
        transport, protocol = await in_context("the connection's", making)
        if inside:
            theirs.send(b"hello")
            await turns()
        else:
            write(protocol)
        transport.abort()
        await protocol.ended


@pytest.mark.parametrize("inside", [True, False])
def test_pause_writing_is_told_of_where_the_write_is(inside):
    told = compare(raising_pause, inside)
    [where] = [note[1] for note in told["notes"] if note[0] == "handler"]
    assert where == ("the connection's" if inside else "nobody's")


async def raising_pipe(record, method):
    """Have one method of a pipe's protocol raise."""
    noting_reports(record)
    loop = asyncio.get_running_loop()
    reads, writes = os.pipe()
    factory = noting(record, hooks={method: planted})
    making = loop.connect_read_pipe(factory, os.fdopen(reads, "rb", buffering=0))
    _, protocol = await in_context("the pipe's", making)
    os.write(writes, b"hello")
    await turns()
    os.close(writes)
    await protocol.ended
    await turns()


@pytest.mark.parametrize("method", [*METHODS, "data_received"])
def test_the_exception_handler_is_in_a_pipes_context(method):
    told = compare(raising_pipe, method)
    [where] = [note[1] for note in told["notes"] if note[0] == "handler"]
    assert where == ("nobody's" if sys.version_info < (3, 12) else "the pipe's")


async def raising_handle(record, given):
    """Have a callback raise whose context was given, or is the one it was scheduled in."""
    noting_reports(record)
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(VAR.set, "the callback's")
    if given:
        loop.call_soon(planted, None, context=context)
    else:
        context.run(loop.call_soon, planted, None)
    await turns()


@pytest.mark.parametrize("given", [True, False])
def test_the_exception_handler_is_in_a_callbacks_context(given):
    told = compare(raising_handle, given)
    where = "nobody's" if sys.version_info < (3, 12) else "the callback's"
    assert told["notes"] == [("handler", where, "ZeroDivisionError")]
