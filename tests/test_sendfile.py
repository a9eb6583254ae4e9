"""Files sent over transports and sockets, on plait's loop and, as the model, on asyncio's."""

import asyncio
import io
import os
import socket

import pytest

import plait

# More than a socket's buffers take at once.
CONTENT = os.urandom(1 << 16) * 160


# What waits to be sent, so much that a protocol is told to stop.
WAITS = b"waits" * 200_000


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.data += data

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.ended.set_result(exc)


async def connect():
    """Return a transport, its protocol, and streams of the peer."""
    ours, peer = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Recorder, sock=ours)
    reader, writer = await asyncio.open_connection(sock=peer)
    return transport, protocol, reader, writer


async def end(transport, protocol, writer):
    transport.close()
    await protocol.ended
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, None, CONTENT),
        (1000, None, CONTENT[1000:]),
        (1000, 5000, CONTENT[1000:6000]),
        (0, len(CONTENT) + 1, CONTENT),
        (len(CONTENT), None, b""),
    ],
)
def test_over_a_transport(run, file, offset, count, expected):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        received = asyncio.create_task(reader.read(-1))
        transport.write(b"before" * 100_000)
        sent = await loop.sendfile(transport, file, offset, count, fallback=False)
        assert sent == len(expected)
        if sent:
            assert file.tell() == offset + sent
        assert transport.get_write_buffer_limits() == (16384, 65536)
        assert transport.get_protocol() is protocol
        transport.write(b"after")
        transport.write_eof()
        assert await received == b"before" * 100_000 + expected + b"after"
        # It reads again.
        writer.write(b"answer")
        while protocol.data != b"answer":
            await asyncio.sleep(0)
        await end(transport, protocol, writer)

    run(main())


@pytest.mark.parametrize(
    ("kind", "offset", "count"),
    [
        (ValueError, 0, 0),
        (ValueError, 0, -1),
        (ValueError, -1, None),
        (TypeError, 0, "3"),
        (TypeError, "1", None),
    ],
)
def test_over_a_transport_what_cannot_be_meant(run, file, kind, offset, count):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        with pytest.raises(kind, match=r"must be a (positive|non-negative) integer"):
            await loop.sendfile(transport, file, offset, count)
        transport.write(b"after")
        assert await reader.readexactly(5) == b"after"
        assert transport.is_reading()
        await end(transport, protocol, writer)

    run(main())


def test_over_a_transport_a_file_of_text(run, tmp_path):
    async def main():
        transport, protocol, _, writer = await connect()
        (tmp_path / "text").write_text("text")
        with (tmp_path / "text").open() as text, pytest.raises(ValueError, match="binary mode"):
            await asyncio.get_running_loop().sendfile(transport, text)
        await end(transport, protocol, writer)

    run(main())


def test_over_tcp(run, file):
    async def main():
        loop = asyncio.get_running_loop()
        sent = loop.create_future()

        async def serve(_, writer):
            sent.set_result(await loop.sendfile(writer.transport, file, 5, fallback=False))
            writer.write(b"after")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read(-1) == CONTENT[5:] + b"after"
            assert await sent == len(CONTENT) - 5
            writer.close()
            await writer.wait_closed()

    run(main())


def test_reading_resumed_in_the_middle(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(transport, file, fallback=False))
        start = await reader.readexactly(1 << 16)
        assert transport.get_protocol() is protocol
        assert not transport.is_reading()
        writer.write(b"hello")
        transport.resume_reading()
        while protocol.data != b"hello":
            await asyncio.sleep(0)
        assert not sending.done()
        assert start + await reader.readexactly(len(CONTENT) - (1 << 16)) == CONTENT
        await sending
        writer.write(b"later")
        while protocol.data != b"hellolater":
            await asyncio.sleep(0)
        await end(transport, protocol, writer)

    run(main())


def test_a_reader_over_its_limit_is_read_in_the_middle(run, file):
    async def main():
        ours, peer = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=1000)
        peer_reader, peer_writer = await asyncio.open_connection(sock=peer)
        message = os.urandom(55_000)
        peer_writer.write(message[:5000])
        while writer.transport.is_reading():
            await asyncio.sleep(0)
        peer_writer.write(message[5000:])
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(writer.transport, file))
        start = await peer_reader.readexactly(1 << 16)
        assert await reader.readexactly(len(message)) == message
        assert not sending.done()
        assert start + await peer_reader.readexactly(len(CONTENT) - (1 << 16)) == CONTENT
        await sending
        for each in (writer, peer_writer):
            each.close()
            await each.wait_closed()

    run(main())


def test_the_end_of_the_input_in_the_middle(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        protocol.eof_received = lambda: protocol.calls.append("eof") or True
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(transport, file))
        start = await reader.readexactly(1 << 16)
        writer.write_eof()
        transport.resume_reading()
        while "eof" not in protocol.calls:
            await asyncio.sleep(0)
        assert start + await reader.readexactly(len(CONTENT) - (1 << 16)) == CONTENT
        await sending
        await end(transport, protocol, writer)

    run(main())


def test_reading_resumed_while_it_is_read_and_written(run):
    # Nobody can have what comes then: the connection ends, and says why.
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        reported = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        sending = asyncio.create_task(loop.sendfile(transport, io.BytesIO(CONTENT)))
        await reader.readexactly(1 << 16)
        writer.write(b"hello")
        transport.resume_reading()
        # Which of the two depends on whether it waits for room or for the file.
        with pytest.raises((RuntimeError, ConnectionError), match=r"should be paused|closed"):
            await sending
        error = await protocol.ended
        assert reported == [error]
        assert "reading should be paused" in str(error)
        assert protocol.data == b""
        writer.close()
        await reader.read(-1)
        await writer.wait_closed()

    run(main())


def test_two_files_at_once(run, file, tmp_path):
    (tmp_path / "other").write_bytes(b"other")

    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        # asyncio's refusal is a by-product: its loop misses the transport.
        refusal = pytest.raises((RuntimeError, KeyError))
        if isinstance(loop, plait.EventLoop):
            refusal = pytest.raises(RuntimeError, match="sendfile is in progress")
        sending = asyncio.create_task(loop.sendfile(transport, file))
        start = await reader.readexactly(1 << 16)
        with (tmp_path / "other").open("rb") as other:
            for second in (other, io.BytesIO(b"other"), file):
                with refusal:
                    await loop.sendfile(transport, second)
        # The first goes on alone.
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        assert not transport.is_reading()
        assert start + await reader.readexactly(len(CONTENT) - (1 << 16)) == CONTENT
        assert await sending == len(CONTENT)
        transport.write(b"after")
        assert await reader.readexactly(5) == b"after"
        await end(transport, protocol, writer)

    run(main())


def test_a_file_behind_one_that_is_read_and_written(file):
    # asyncio's loop mixes the two.
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        first = io.BytesIO(CONTENT)
        sending = asyncio.create_task(loop.sendfile(transport, first))
        start = await reader.readexactly(1 << 16)
        for second in (file, io.BytesIO(b"other"), first):
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                await loop.sendfile(transport, second, 5)
        assert start + await reader.readexactly(len(CONTENT) - (1 << 16)) == CONTENT
        assert await sending == len(CONTENT)
        assert transport.get_protocol() is protocol
        assert await loop.sendfile(transport, file, 5, 10) == 10
        assert await reader.readexactly(10) == CONTENT[5:15]
        await end(transport, protocol, writer)

    plait.run(asyncio.wait_for(main(), 30))


def test_a_writer_that_was_paused(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        transport.write(WAITS)
        assert protocol.calls == ["pause"]
        sending = asyncio.create_task(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        # Nobody writes in between, from the call on.
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        assert await reader.readexactly(len(WAITS)) == WAITS
        assert await reader.readexactly(1 << 16) == CONTENT[: 1 << 16]
        assert protocol.calls == ["pause", "resume"]
        await reader.readexactly(len(CONTENT) - (1 << 16))
        await sending
        assert protocol.calls == ["pause", "resume"]
        await end(transport, protocol, writer)

    run(main())


def test_a_writer_is_paused_behind_what_was_read_and_written():
    # asyncio's loop tells it nothing, and resumes one who was paused while much waits.
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(high=len(WAITS))
        transport.write(WAITS)
        # The one block that is to come is too much, and the last.
        transport.set_write_buffer_limits(high=transport.get_write_buffer_size())
        assert protocol.calls == []
        assert await loop.sendfile(transport, io.BytesIO(b"one block")) == 9
        assert protocol.calls == ["pause"]
        assert await reader.readexactly(len(WAITS) + 9) == WAITS + b"one block"
        while protocol.calls != ["pause", "resume"]:
            await asyncio.sleep(0)
        await end(transport, protocol, writer)

    plait.run(asyncio.wait_for(main(), 30))


def test_what_is_no_regular_file(run):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sendfile(transport, io.BytesIO(CONTENT), fallback=False)
        received = asyncio.create_task(reader.read(-1))
        assert await loop.sendfile(transport, io.BytesIO(CONTENT), 10) == len(CONTENT) - 10
        transport.write(b"after")
        transport.write_eof()
        assert await received == CONTENT[10:] + b"after"
        await end(transport, protocol, writer)

    run(main())


def test_nobody_writes_in_between(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(transport, file))
        start = await reader.readexactly(1 << 16)
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"x")
        rest = await reader.readexactly(len(CONTENT) - (1 << 16))
        assert await sending == len(CONTENT)
        assert start + rest == CONTENT
        transport.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await end(transport, protocol, writer)

    run(main())


def test_a_peer_that_goes(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await reader.readexactly(1 << 16)
        writer.transport.abort()
        with pytest.raises(ConnectionError):
            await sending
        transport.close()
        await protocol.ended

    run(main())


def test_a_transport_that_is_aborted(file):
    # asyncio's loop waits for room in a closed socket.
    async def main():
        transport, protocol, reader, writer = await connect()
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await reader.readexactly(1 << 16)
        transport.abort()
        with pytest.raises(ConnectionError, match="closed"):
            await sending
        await protocol.ended
        await reader.read(-1)  # and its end comes to the peer
        writer.close()
        await writer.wait_closed()

    plait.run(asyncio.wait_for(main(), 30))


def test_cancelled(run, file):
    async def main():
        transport, protocol, reader, writer = await connect()
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await reader.readexactly(1 << 16)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        received = asyncio.create_task(reader.read(-1))
        transport.write(b"after")
        transport.write_eof()
        data = await received
        await end(transport, protocol, writer)
        assert data[-5:] == b"after"
        assert data[:-5] == CONTENT[1 << 16 : (1 << 16) + len(data) - 5]

    run(main())


@pytest.mark.parametrize("reading", [True, False])
def test_cancelled_it_leaves_all_as_it_was(file, reading):
    # asyncio's loop may leave the position of the file where it was before.
    async def main():
        transport, protocol, reader, writer = await connect()
        if not reading:
            transport.pause_reading()
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(transport, file, 100))
        await reader.readexactly(1 << 16)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert transport.get_protocol() is protocol
        assert transport.is_reading() == reading
        transport.write_eof()
        assert file.tell() == 100 + (1 << 16) + len(await reader.read(-1))
        transport.resume_reading()
        writer.write(b"answer")
        while protocol.data != b"answer":
            await asyncio.sleep(0)
        await end(transport, protocol, writer)

    plait.run(asyncio.wait_for(main(), 30))


def test_cancelled_before_its_turn(file):
    # asyncio's loop takes no more writes then.
    async def main():
        transport, protocol, reader, writer = await connect()
        loop = asyncio.get_running_loop()
        transport.write(WAITS)
        sending = asyncio.create_task(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        assert not transport.is_reading()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert file.tell() == 0
        assert transport.is_reading()
        transport.write(b"after")
        assert await reader.readexactly(len(WAITS) + 5) == WAITS + b"after"
        # And so that another can be sent.
        assert await loop.sendfile(transport, file, 7, 3) == 3
        assert await reader.readexactly(3) == CONTENT[7:10]
        await end(transport, protocol, writer)

    plait.run(asyncio.wait_for(main(), 30))


def test_cancelled_over_tls(run, contexts):
    context, trusting = contexts

    async def main():
        loop = asyncio.get_running_loop()
        outcome = loop.create_future()
        go = asyncio.Event()

        async def serve(reader, writer):
            protocol = writer.transport.get_protocol()
            content = io.BytesIO(CONTENT)
            sending = asyncio.create_task(loop.sendfile(writer.transport, content))
            await go.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert writer.transport.get_protocol() is protocol
            writer.write(b"after")
            outcome.set_result((content.tell(), await reader.readexactly(6)))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=trusting, server_hostname="localhost"
            )
            start = await reader.readexactly(1 << 16)
            go.set()
            writer.write(b"answer")
            received = start + await reader.read(-1)
            position, answer = await outcome
            assert answer == b"answer"
            assert received[-5:] == b"after"
            assert received[:-5] == CONTENT[: len(received) - 5]
            assert position == len(received) - 5
            writer.close()
            await writer.wait_closed()

    run(main())


def test_a_transport_that_closes_in_the_middle(file):
    # asyncio's loop waits for room in a closed socket.
    async def main():
        transport, protocol, reader, writer = await connect()
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await reader.readexactly(1 << 16)
        transport.close()
        with pytest.raises(ConnectionError, match="closed"):
            await sending
        assert await protocol.ended is None
        assert file.tell() == (1 << 16) + len(await reader.read(-1))
        writer.close()
        await writer.wait_closed()

    plait.run(asyncio.wait_for(main(), 30))


def test_a_transport_that_closes_before_its_turn(file):
    # asyncio's loop reports an InvalidStateError.
    async def main():
        transport, protocol, reader, writer = await connect()
        transport.write(WAITS)
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await asyncio.sleep(0)
        transport.close()
        assert await reader.read(-1) == WAITS
        with pytest.raises(ConnectionError, match="closed"):
            await sending
        assert await protocol.ended is None
        writer.close()
        await writer.wait_closed()

    plait.run(asyncio.wait_for(main(), 30))


def test_a_peer_that_goes_before_its_turn(file):
    # asyncio's loop reports an InvalidStateError besides.
    async def main():
        transport, protocol, _, writer = await connect()
        transport.write(WAITS)
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(transport, file))
        await asyncio.sleep(0)
        writer.transport.abort()
        with pytest.raises(ConnectionError) as raised:
            await sending
        assert await protocol.ended is raised.value
        assert file.tell() == 0

    plait.run(asyncio.wait_for(main(), 30))


def test_a_transport_that_closes(run, file):
    async def main():
        transport, protocol, _, writer = await connect()
        transport.close()
        with pytest.raises(RuntimeError, match="closing"):
            await asyncio.get_running_loop().sendfile(transport, file)
        await end(transport, protocol, writer)

    run(main())


def test_over_tls(run, file, contexts):
    context, trusting = contexts

    async def main():
        loop = asyncio.get_running_loop()
        outcome = loop.create_future()

        async def serve(_, writer):
            with pytest.raises(RuntimeError, match="fallback is disabled"):
                await loop.sendfile(writer.transport, file, fallback=False)
            outcome.set_result(await loop.sendfile(writer.transport, file, 5))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=trusting, server_hostname="localhost"
            )
            assert await reader.read(-1) == CONTENT[5:]
            assert await outcome == len(CONTENT) - 5
            writer.close()
            await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("count", [None, 100_000])
def test_over_a_socket(run, file, count):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=peer)
            received = asyncio.create_task(reader.read(-1))
            expected = CONTENT[10:][:count]
            sent = await loop.sock_sendfile(ours, file, 10, count, fallback=False)
            assert sent == len(expected)
            assert file.tell() == 10 + sent
            ours.close()
            assert await received == expected
            writer.close()
            await writer.wait_closed()

    run(main())


def test_over_a_socket_what_is_no_regular_file(run, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        (tmp_path / "empty").touch()
        with ours, peer, (tmp_path / "empty").open("rb") as empty:
            ours.setblocking(False)
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sock_sendfile(ours, io.BytesIO(b"abc"), fallback=False)
            assert await loop.sock_sendfile(ours, io.BytesIO(b"abc")) == 3
            assert peer.recv(10) == b"abc"
            assert await loop.sock_sendfile(ours, empty) == 0

    run(main())
