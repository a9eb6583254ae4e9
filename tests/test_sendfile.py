"""Files sent over transports and sockets, on plait's loop and, as the model, on asyncio's."""

import asyncio
import io
import os
import socket

import pytest

import plait

# More than a socket's buffers take at once.
CONTENT = os.urandom(1 << 16) * 160


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
