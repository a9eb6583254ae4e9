"""Which context a connection's code runs in: on plait's loop it is that of asyncio's own."""

import asyncio
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
