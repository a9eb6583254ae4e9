"""The loop's `sock_*` calls, on plait's loop and, as the model, on asyncio's."""

import asyncio
import os
import socket
import ssl

import pytest

import plait

FACTORIES = [plait.new_event_loop, asyncio.SelectorEventLoop]


@pytest.fixture(params=FACTORIES, ids=["plait", "asyncio"])
def run(request):
    def runner(main):
        with asyncio.Runner(loop_factory=request.param) as r:
            return r.run(asyncio.wait_for(main, 30))

    return runner


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        yield a, b


def test_stream(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        data = os.urandom(3_000_000)
        sender = asyncio.create_task(loop.sock_sendall(a, data))
        received = bytearray()
        while len(received) < 1_000_000:
            received += await loop.sock_recv(b, 65536)
        buffer = bytearray(65536)
        while len(received) < len(data):
            count = await loop.sock_recv_into(b, buffer)
            received += buffer[:count]
        await sender
        assert received == data
        a.close()
        assert await loop.sock_recv(b, 10) == b""

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_takes_any_buffer(run, pair, kind):
    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(pair[0], kind(b"abcd"))
        assert await loop.sock_recv(pair[1], 10) == b"abcd"

    run(main())


def test_sendall_counts_bytes_not_items(pair):
    """asyncio waits for ever here: it counts the items of the view."""

    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(pair[0], memoryview(b"abcd").cast("H"))
        assert await loop.sock_recv(pair[1], 10) == b"abcd"

    plait.run(main())


def test_accept_and_connect(run):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.socket() as listener, socket.socket() as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
            connection, address = await accepting
            with connection:
                assert connection.gettimeout() == 0
                assert address == client.getsockname()

    run(main())


def test_refused(run):
    async def main():
        with socket.socket() as unused, socket.socket() as client:
            unused.bind(("127.0.0.1", 0))
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_connect(client, unused.getsockname())

    run(main())


def test_datagrams(run):
    async def main():
        loop = asyncio.get_running_loop()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as a,
            socket.socket(type=socket.SOCK_DGRAM) as b,
        ):
            for sock in (a, b):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recvfrom(b, 100))
            assert await loop.sock_sendto(a, b"one", b.getsockname()) == 3
            assert await receiving == (b"one", a.getsockname())
            buffer = bytearray(10)
            await loop.sock_sendto(a, b"two", b.getsockname())
            assert await loop.sock_recvfrom_into(b, buffer) == (3, a.getsockname())
            assert buffer[:3] == b"two"

    run(main())


def test_cancelled_wait_takes_nothing(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(b, 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not loop.remove_reader(b)
        a.send(b"kept")
        assert await loop.sock_recv(b, 10) == b"kept"

    run(main())


def test_blocking_sockets_are_refused_in_debug_mode(run, pair):
    a, _ = pair
    a.setblocking(True)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        for call in (
            loop.sock_recv(a, 1),
            loop.sock_sendall(a, b"x"),
            loop.sock_accept(a),
            loop.sock_connect(a, ""),
        ):
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await call

    run(main())


def test_tls_sockets_are_refused(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context()
        with (
            context.wrap_socket(
                pair[0], server_hostname="x", do_handshake_on_connect=False
            ) as wrapped,
            pytest.raises(TypeError, match="SSLSocket"),
        ):
            await loop.sock_recv(wrapped, 1)

    run(main())
