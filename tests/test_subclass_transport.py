"""A program's own class of transports, put in place by its own class of loops."""

import asyncio
import gc
import weakref

import pytest
from both_loops import MODEL_IS_MENDED, PATIENCE

import plait
from plait._binding import native

MUCH = 1 << 20


class Counting(native.SocketTransport):
    """Counts what is written; one that is closed says so before."""

    written = 0

    def write(self, data):
        self.written += len(data)
        super().write(data)

    def close(self):
        self.closed_by_us = True
        super().close()


class Loop(plait.EventLoop):
    """Makes these transports for every connection, TLS's included."""

    def __init__(self):
        super().__init__()
        self.made = []

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
        transport = Counting(self, sock, protocol, waiter, extra, server)
        transport._start()
        self.made.append(weakref.ref(transport))
        return transport


async def shout(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def run(main):
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(asyncio.wait_for(main(), PATIENCE))
        made = runner.get_loop().made
    gc.collect()
    assert [each() for each in made] == [None] * len(made)


async def exchange(**options):
    ssl, client = options.pop("ssl", (None, None))
    server = await asyncio.start_server(shout, "127.0.0.1", 0, ssl=ssl)
    reader, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), ssl=client, **options
    )
    sending = asyncio.ensure_future(send(writer))
    assert len(await reader.readexactly(MUCH)) == MUCH
    await sending
    transports = [each() for each in asyncio.get_running_loop().made]
    assert [type(each) for each in transports] == [Counting, Counting]
    assert all(isinstance(each, asyncio.Transport) for each in transports)
    assert not any(hasattr(each, "closed_by_us") for each in transports)
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    while not all(each.is_closing() for each in transports):
        await asyncio.sleep(0)
    return [each.written for each in transports], transports


async def send(writer):
    for _ in range(MUCH >> 16):
        writer.write(bytes(1 << 16))
        await writer.drain()


def test_its_methods_are_called():
    async def main():
        written, transports = await exchange()
        assert written == [MUCH, MUCH]
        assert all(each.closed_by_us for each in transports)

    run(main)


@pytest.mark.skipif(not MODEL_IS_MENDED, reason="asyncio's own TLS is at fault until 3.11.7")
def test_tls_goes_through_it(contexts):
    async def main():
        written, _ = await exchange(ssl=contexts, server_hostname="localhost")
        # What TLS adds too; or it is sent by the base class, behind its back.
        assert all(count > MUCH for count in written)

    run(main)


def test_one_that_raises_in_a_method_that_the_loop_does_not_call():
    """It is the program's call, so it is the program's exception."""

    class Refusing(Counting):
        def write(self, data):
            raise LookupError(len(data))

    class RefusingLoop(Loop):
        def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
            transport = Refusing(self, sock, protocol, waiter, extra, server)
            transport._start()
            return transport

    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises(LookupError):
            writer.write(b"x")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=RefusingLoop) as runner:
        runner.run(asyncio.wait_for(main(), PATIENCE))
