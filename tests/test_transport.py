"""Connections: transports, protocols and streams, on plait's loop and, as the
model, on asyncio's."""

import array
import asyncio
import contextvars
import decimal
import fractions
import gc
import logging
import math
import os
import socket
import ssl
import struct
import weakref

import pytest

import plait
from plait._binding import native


class Recorder(asyncio.Protocol):
    """Keeps what it is told; `ended` is set with `connection_lost`'s argument."""

    def __init__(self):
        self.calls = []
        self.data = b""
        self.made = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self.got_eof = asyncio.get_running_loop().create_future()
        self.keep_open = False

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")
        self.made.set_result(transport)

    def data_received(self, data):
        self.calls.append("data")
        self.data += data

    def eof_received(self):
        self.calls.append("eof")
        self.got_eof.set_result(None)
        return self.keep_open

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, error):
        self.calls.append("lost")
        self.ended.set_result(error)


async def connect(factory=Recorder):
    """Return a transport, its protocol, and the plain socket of the peer."""
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    transport, protocol = await loop.create_connection(factory, sock=ours)
    return transport, protocol, peer


async def read_all(peer):
    loop = asyncio.get_running_loop()
    received = bytearray()
    while data := await loop.sock_recv(peer, 1 << 20):
        received += data
    return bytes(received)


def test_life_of_a_connection(run):
    async def main():
        transport, protocol, peer = await connect()
        assert protocol.transport is transport
        assert transport.get_protocol() is protocol
        assert transport.is_reading()
        peer.send(b"abc")
        peer.shutdown(socket.SHUT_WR)
        await protocol.got_eof
        assert await protocol.ended is None
        assert protocol.data == b"abc"
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert transport.is_closing()
        peer.close()

    run(main())


def test_half_close_by_the_peer(run):
    async def main():
        transport, protocol, peer = await connect()
        protocol.keep_open = True
        peer.shutdown(socket.SHUT_WR)
        await protocol.got_eof
        assert not transport.is_closing()
        transport.write(b"answer")
        transport.write_eof()
        assert await read_all(peer) == b"answer"
        transport.close()
        assert await protocol.ended is None
        peer.close()

    run(main())


def test_close_sends_what_was_written(run):
    async def main():
        transport, protocol, peer = await connect()
        data = os.urandom(5_000_000)
        transport.write(data)
        assert transport.get_write_buffer_size() > 0
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert await read_all(peer) == data
        assert await protocol.ended is None
        assert "pause" in protocol.calls
        peer.close()

    run(main())


def test_abort_drops_what_was_written(run):
    async def main():
        transport, protocol, peer = await connect()
        transport.write(bytes(5_000_000))
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert await protocol.ended is None
        assert len(await read_all(peer)) < 5_000_000
        transport.write(b"ignored")
        peer.close()

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_data(run, kind):
    async def main():
        ours = isinstance(asyncio.get_running_loop(), plait.EventLoop)
        transport, protocol, peer = await connect()
        expected = b"".join(bytes([n % 256]) * 70_000 for n in range(20))
        for n in range(20):
            data = kind(bytes([n % 256]) * 70_000)
            transport.write(data)
            transport.write(kind(b""))
            if kind is bytearray and ours:
                # asyncio sends the change from 3.12 on: it keeps a view.
                data[:] = b"changed after the write".ljust(len(data))
        transport.write_eof()
        assert await read_all(peer) == expected
        transport.close()
        await protocol.ended
        peer.close()

    run(main())


def test_writelines(run):
    async def main():
        transport, protocol, peer = await connect()
        parts = [os.urandom(n) for n in (10, 0, 70_000, 1, 3_000_000)]
        transport.writelines(parts)
        transport.writelines(iter([b"x", memoryview(b"y")]))
        transport.writelines([])
        transport.write_eof()
        assert await read_all(peer) == b"".join(parts) + b"xy"
        transport.close()
        await protocol.ended
        peer.close()

    run(main())


@pytest.mark.parametrize("data", ["text", 3, None, [b"x"]])
def test_other_data_is_refused(run, data):
    async def main():
        transport, protocol, peer = await connect()
        with pytest.raises(TypeError, match="bytes"):
            transport.write(data)
        transport.close()
        await protocol.ended
        peer.close()

    run(main())


def test_write_after_eof_is_refused(run):
    async def main():
        transport, protocol, peer = await connect()
        assert transport.can_write_eof()
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            transport.write(b"x")
        transport.close()
        await protocol.ended
        peer.close()

    run(main())


def test_flow_control(run):
    async def main():
        transport, protocol, peer = await connect()
        transport.set_write_buffer_limits(high=1000, low=100)
        assert transport.get_write_buffer_limits() == (100, 1000)
        while "pause" not in protocol.calls:
            transport.write(bytes(100_000))
        assert "resume" not in protocol.calls
        size = transport.get_write_buffer_size()
        assert size > 1000
        peer_read = asyncio.create_task(read_all(peer))
        while "resume" not in protocol.calls:
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() <= 100
        transport.close()
        await peer_read
        await protocol.ended
        assert protocol.calls == ["made", "pause", "resume", "lost"]
        peer.close()

    run(main())


def test_write_limits(run):
    async def main():
        transport, protocol, peer = await connect()
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        for high, low in ((1, 2), (-1, None), (5, -1)):
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high, low)
        # Whatever is a number.
        transport.set_write_buffer_limits(high=1e3, low=fractions.Fraction(250))
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(high=decimal.Decimal(40))
        assert transport.get_write_buffer_limits() == (10, 40)
        for high, low in ((math.nan, 0), (0.5, -0.5), (-(2**70), None), (1.0, 2.0)):
            with pytest.raises(ValueError, match="must be"):
                transport.set_write_buffer_limits(high, low)
        with pytest.raises(TypeError):
            transport.set_write_buffer_limits("64 KiB")
        assert transport.get_write_buffer_limits() == (10, 40)
        for endless in (2**70, 1e30, math.inf):
            transport.set_write_buffer_limits(high=endless, low=7)
            low, high = transport.get_write_buffer_limits()
            assert low == 7
            assert high >= 2**62
        transport.close()
        await protocol.ended
        peer.close()

    run(main())


def test_pause_reading_holds_data_back(run):
    async def main():
        transport, protocol, peer = await connect()
        transport.pause_reading()
        transport.pause_reading()
        assert transport._paused
        assert not transport.is_reading()
        peer.send(b"abc")
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.data == b""
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        peer.close()
        await protocol.ended
        assert protocol.data == b"abc"

    run(main())


def test_pause_from_data_received(run):
    async def main():
        class Pausing(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()

        transport, protocol, peer = await connect(Pausing)
        peer.send(b"x" * 100_000)
        while not protocol.data:
            await asyncio.sleep(0)
        seen = len(protocol.data)
        peer.send(b"y")
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(protocol.data) == seen
        transport.abort()
        await protocol.ended
        peer.close()

    run(main())


@pytest.mark.parametrize(
    "method", ["data_received", "eof_received", "connection_lost", "connection_made"]
)
def test_a_protocol_that_raises(run, method):
    """Told once, reported once, and the connection ends."""

    async def main():
        error = ZeroDivisionError(method)

        class Failing(Recorder):
            pass

        def fail(self, *args):
            getattr(Recorder, method)(self, *args)
            raise error

        setattr(Failing, method, fail)
        transport, protocol, peer = await connect(Failing)
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        lost = await protocol.ended
        await asyncio.sleep(0)
        assert [context["exception"] for context in run.reported] == [error]
        assert lost is (error if method in ("data_received", "eof_received") else None)
        assert transport.is_closing()
        peer.close()

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_flow_control_that_raises(run, method):
    async def main():
        error = ZeroDivisionError(method)

        class Failing(Recorder):
            pass

        def fail(self):
            raise error

        setattr(Failing, method, fail)
        transport, protocol, peer = await connect(Failing)
        transport.write(bytes(5_000_000))
        transport.close()
        assert len(await read_all(peer)) == 5_000_000
        await protocol.ended
        [context] = run.reported
        assert context["exception"] is error
        assert context["message"] == f"protocol.{method}() failed"
        assert context["protocol"] is protocol
        peer.close()

    run(main())


def test_a_protocol_that_closes_inside_its_callbacks(run):
    async def main():
        class Closing(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(b"bye")
                transport.close()

        _, protocol, peer = await connect(Closing)
        assert await read_all(peer) == b"bye"
        await protocol.ended
        assert protocol.calls == ["made", "lost"]

        class ClosingLater(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.abort()

        _, protocol, peer2 = await connect(ClosingLater)
        peer2.send(b"x")
        await protocol.ended
        assert protocol.calls == ["made", "data", "lost"]
        peer.close()
        peer2.close()

    run(main())


def test_reset_by_the_peer(run):
    async def main():
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        def factory():
            protocol = Recorder()
            made.set_result(protocol)
            return protocol

        server = await loop.create_server(factory, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        protocol = await made
        await protocol.made
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert isinstance(await protocol.ended, ConnectionResetError)
        assert run.reported == []
        server.close()
        await server.wait_closed()

    run(main())


def test_write_to_a_closed_peer(run):
    async def main():
        transport, protocol, peer = await connect()
        transport.pause_reading()
        peer.close()
        transport.write(b"x" * 100)
        transport.write(b"x" * 100)
        assert isinstance(await protocol.ended, (BrokenPipeError, ConnectionResetError))
        for _ in range(10):
            transport.write(b"goes nowhere")

    run(main())


def test_views_of_other_shapes():
    """Strides and items of more than a byte go out as `bytes()` has them; asyncio refuses some."""
    views = [memoryview(b"abcdef")[::2], memoryview(array.array("I", [1, 2**31])), memoryview(b"")]

    async def main():
        transport, protocol, peer = await connect()
        for view in views:
            transport.write(view)
        transport.writelines(views)
        transport.write_eof()
        assert await read_all(peer) == b"".join(bytes(view) for view in views) * 2
        transport.close()
        await protocol.ended
        peer.close()

    plait.run(main())


def test_a_buffer_is_free_again_after_the_write():
    """What is sent or copied is not held: the writer may resize it. asyncio keeps a view."""

    async def main():
        transport, protocol, peer = await connect()
        data = bytearray(b"x" * 10)
        transport.write(data)
        data.extend(b"y")
        big = bytearray(b"z" * 5_000_000)
        transport.write(memoryview(big))
        assert transport.get_write_buffer_size() > 0
        big.clear()
        transport.write_eof()
        assert await read_all(peer) == b"x" * 10 + b"z" * 5_000_000
        transport.close()
        await protocol.ended
        peer.close()

    plait.run(main())


@pytest.mark.parametrize(
    "make",
    [
        bytearray,
        lambda size: memoryview(bytearray(size)),
        lambda size: array.array("B", bytes(size)),
    ],
)
@pytest.mark.parametrize("base", [asyncio.BufferedProtocol, asyncio.BaseProtocol])
def test_buffered_protocol(run, base, make):
    if base is asyncio.BaseProtocol and not run.is_plait:
        pytest.skip("asyncio goes by the class alone, uvloop by the methods too")

    class Buffered(base):
        def __init__(self):
            self.buffer = make(1000)
            self.data = b""
            self.ended = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, count):
            self.data += bytes(self.buffer[:count])

        def eof_received(self):
            pass

        def connection_lost(self, error):
            self.ended.set_result(error)

    async def main():
        _, protocol, peer = await connect(Buffered)
        data = os.urandom(100_000)
        sent = asyncio.get_running_loop().sock_sendall(peer, data)
        await sent
        peer.close()
        assert await protocol.ended is None
        assert protocol.data == data

    run(main())


@pytest.mark.parametrize(
    "buffer",
    [
        array.array("b", bytes(12)),
        array.array("I", bytes(12)),
        memoryview(bytearray(12)).cast("f"),
        memoryview(bytearray(12)).cast("B", (3, 4)),
    ],
    ids=["b", "I", "f", "3x4"],
)
def test_buffers_of_items(run, buffer):
    async def main():
        class Buffered(asyncio.BufferedProtocol):
            def __init__(self):
                self.updated = asyncio.get_running_loop().create_future()
                self.ended = asyncio.get_running_loop().create_future()

            def get_buffer(self, sizehint):
                return buffer

            def buffer_updated(self, count):
                self.updated.set_result(count)

            def connection_lost(self, error):
                self.ended.set_result(error)

        _, protocol, peer = await connect(Buffered)
        peer.send(b"123456")
        assert await protocol.updated == 6
        assert memoryview(buffer).tobytes() == b"123456" + bytes(6)
        peer.close()
        assert await protocol.ended is None

    run(main())


@pytest.mark.parametrize("buffer", [bytearray(), b"read-only", 3])
def test_buffers_that_cannot_take_data(run, buffer):
    async def main():
        class Buffered(asyncio.BufferedProtocol):
            def __init__(self):
                self.ended = asyncio.get_running_loop().create_future()

            def get_buffer(self, sizehint):
                return buffer

            def buffer_updated(self, count):
                raise AssertionError

            def connection_lost(self, error):
                self.ended.set_result(error)

        _, protocol, peer = await connect(Buffered)
        peer.send(b"x")
        error = await protocol.ended
        assert isinstance(error, (RuntimeError, BufferError, TypeError))
        assert [context["exception"] for context in run.reported] == [error]
        peer.close()

    run(main())


def test_set_protocol(run):
    async def main():
        transport, first, peer = await connect()
        peer.send(b"1")
        while not first.data:
            await asyncio.sleep(0)
        second = Recorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        peer.send(b"2")
        peer.close()
        await second.ended
        assert (first.data, second.data) == (b"1", b"2")
        assert first.calls == ["made", "data"]

    run(main())


def test_extra_info(run):
    async def main():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address)
        assert writer.get_extra_info("peername") == address
        assert writer.get_extra_info("sockname")[0] == "127.0.0.1"
        assert writer.get_extra_info("socket").fileno() > 0
        assert writer.get_extra_info("nothing") is None
        assert writer.get_extra_info("nothing", 3) == 3
        nodelay = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert nodelay
        writer.close()
        await writer.wait_closed()
        assert writer.get_extra_info("peername") == address
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("kind", [socket.socket, type("Socket", (socket.socket,), {})])
def test_extra_info_first_asked_for_after_the_end(run, kind):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = kind()
            client.connect(listener.getsockname())
            names = client.getsockname(), client.getpeername()
            accepted, _ = listener.accept()
        transport, protocol = await loop.create_connection(Recorder, sock=client)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        await protocol.ended
        ask = transport.get_extra_info
        assert (ask("sockname"), ask("peername", "default")) == names
        assert ask("socket").fileno() == -1

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_client_protocol_that_cannot_be_made(host):
    """Its socket is closed; asyncio leaves that to the collector, which warns."""

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, host, 0)
        with pytest.raises(ZeroDivisionError):
            await loop.create_connection(lambda: 1 / 0, *server.sockets[0].getsockname()[:2])
        transport, _ = await loop.create_connection(
            Recorder, host, server.sockets[0].getsockname()[1]
        )
        assert transport.get_extra_info("peername") == server.sockets[0].getsockname()
        transport.close()
        server.close()

    plait.run(main())
    gc.collect()


def test_a_socket_closed_behind_our_back_does_not_hurt_the_next_with_its_number():
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        first, first_protocol = await loop.create_connection(Recorder, sock=ours)
        theirs, new_peer = socket.socketpair()
        number = ours.fileno()
        ours.close()
        os.dup2(theirs.fileno(), number)
        theirs.close()
        new = socket.socket(fileno=number)
        new.setblocking(False)
        _, second_protocol = await loop.create_connection(Recorder, sock=new)
        first.pause_reading()
        first.abort()
        await first_protocol.ended
        new_peer.send(b"alive")
        new_peer.close()
        await second_protocol.ended
        assert second_protocol.data == b"alive"
        assert first_protocol.data == b""
        peer.close()

    plait.run(main())


def test_attributes_can_be_set():
    """asked of uvloop, and refused there"""

    async def main():
        transport, protocol, peer = await connect()
        transport.note = 3
        assert transport.note == 3
        assert weakref.ref(transport)() is transport
        assert "SocketTransport fd=" in repr(transport)
        transport.close()
        await protocol.ended
        assert "closed" in repr(transport)
        peer.close()

    plait.run(main())


def test_flow_control_runs_in_a_context(run):
    """That of whoever writes, to be stopped; one that knows of the connection, to go on."""
    where = contextvars.ContextVar("where")

    class Steered(Recorder):
        def pause_writing(self):
            self.calls.append(("pause", where.get()))

        def resume_writing(self):
            self.calls.append(("resume", where.get()))

    async def main():
        where.set("begin")
        transport, protocol, peer = await connect(Steered)
        transport.set_write_buffer_limits(high=0)

        async def write():
            where.set("writer")
            transport.write(bytes(10_000_000))

        await asyncio.create_task(write())
        transport.close()
        await read_all(peer)
        peer.close()
        await protocol.ended
        return [call for call in protocol.calls if isinstance(call, tuple)]

    pause, resume = run(main())
    assert pause == ("pause", "writer")
    assert resume[0] == "resume"


def test_debug_mode_notes_pauses_and_errors(run, caplog):
    async def main():
        asyncio.get_running_loop().set_debug(True)
        transport, protocol, peer = await connect()
        transport.pause_reading()
        transport.resume_reading()
        transport.write(b"x")
        peer.close()
        transport.write(b"x")
        await protocol.ended

    with caplog.at_level(logging.DEBUG, logger="asyncio"):
        run(main())
    noted = [record.getMessage() for record in caplog.records]
    for what in ("pauses reading", "resumes reading", "Fatal write error on socket transport"):
        assert any(note.endswith(what) for note in noted), what


def test_streams_both_ways(run):
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        data = os.urandom(2_000_000)

        async def client():
            reader, writer = await asyncio.open_connection(*address)

            async def send():
                for start in range(0, len(data), 50_000):
                    writer.write(data[start : start + 50_000])
                    await writer.drain()
                writer.write_eof()

            sender = asyncio.create_task(send())
            assert await reader.read() == data
            await sender
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*[client() for _ in range(20)])
        server.close()
        await server.wait_closed()

    run(main())
    assert run.reported == []


def test_many_connections_at_once(run):
    async def main():
        async def answer(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=500)

        async def ask(number):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"%d\n" % number)
            assert await reader.read() == b"%d\n" % number
            writer.close()

        await asyncio.gather(*[ask(number) for number in range(200)])
        server.close()
        await server.wait_closed()

    run(main())
    assert run.reported == []


def test_refused_connection(run):
    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*unused.getsockname())

    run(main())


@pytest.mark.parametrize("kind", [socket.socket, type("Socket", (socket.socket,), {})])
def test_accepted_sockets_do_not_block(run, kind):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        def serve(reader, writer):
            sock = writer.get_extra_info("socket")
            seen.set_result(
                (
                    sock.gettimeout(),
                    os.get_blocking(sock.fileno()),
                    os.get_inheritable(sock.fileno()),
                )
            )
            assert writer.get_extra_info("peername") == sock.getpeername()
            assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
            writer.close()

        listener = kind()
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(serve, sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        assert await seen == (0, False, False)
        writer.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_server_that_runs_out_of_descriptors_recovers(run, monkeypatch):
    """accept() fails once, as if the table were full; the client is served."""
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.01)

    class Full(socket.socket):
        failed = False

        def accept(self):
            if not Full.failed:
                Full.failed = True
                raise OSError(24, "Too many open files")
            return super().accept()

    async def main():
        listener = Full()
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(lambda r, w: w.close(), sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()

    run(main())
    messages = [context["message"] for context in run.reported]
    assert messages[0] == "socket.accept() out of system resource"
    # asyncio's tries again even if the server was closed meanwhile, and reports that.
    assert len(messages) == 1 or not run.is_plait


def test_protocol_factory_that_raises():
    reported = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def factory():
            raise ZeroDivisionError

        server = await loop.create_server(factory, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()

    plait.run(main())
    assert [type(error) for error in reported] == [ZeroDivisionError]


def test_tls_streams(run, contexts):
    server_context, client_context = contexts

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readexactly(300_000))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
        assert writer.get_extra_info("cipher")
        data = os.urandom(300_000)
        writer.write(data)
        assert await reader.read() == data
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    assert run.reported == []


def test_start_tls(run, contexts):
    server_context, client_context = contexts

    async def main():
        async def upgrade(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(server_context)
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"secret\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    assert run.reported == []


def test_tls_refuses_an_unknown_certificate(run, contexts):
    server_context, _ = contexts

    async def main():
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=server_context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                *server.sockets[0].getsockname(),
                ssl=ssl.create_default_context(),
                server_hostname="localhost",
            )
        server.close()
        await server.wait_closed()

    run(main())


def test_connections_leave_nothing_behind():
    refs = []

    async def main():
        for _ in range(200):
            transport, protocol, peer = await connect()
            refs.append(weakref.ref(transport))
            refs.append(weakref.ref(protocol))
            peer.send(b"x")
            transport.write(b"y")
            transport.close()
            await protocol.ended
            peer.close()

    before = len(os.listdir("/proc/self/fd"))
    plait.run(main())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert sum(ref() is not None for ref in refs) == 0


def test_transports_are_asyncios_to_isinstance():
    async def main():
        ours, theirs = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=ours)
        assert isinstance(writer.transport, asyncio.Transport)
        assert isinstance(writer.transport, native.SocketTransport)
        assert not isinstance(writer.transport, asyncio.DatagramTransport)
        writer.close()
        await writer.wait_closed()
        theirs.close()

    plait.run(main())
