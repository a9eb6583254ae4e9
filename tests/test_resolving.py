"""Numeric addresses without a thread; the options of servers."""

import asyncio
import inspect
import socket
import sys

import pytest

import plait


def refuse_threads(*args):
    raise AssertionError("a thread was asked for")


@pytest.mark.parametrize(
    "arguments",
    [
        ("127.0.0.1", 80),
        ("127.0.0.1", "80"),
        (b"127.0.0.1", 80),
        ("::1", 80),
        ("fe80::1%lo", 80),
        (None, 80),
    ],
)
def test_numbers_take_no_thread(arguments, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(plait.EventLoop, "run_in_executor", refuse_threads)
        for options in [{}, {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}]:
            found = await loop.getaddrinfo(*arguments, **options)
            assert found == socket.getaddrinfo(*arguments, **options)

    plait.run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_names_and_what_is_wrong(factory, debug):
    async def main():
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("localhost", "http", family=socket.AF_INET)
        assert ("127.0.0.1", 80) in [entry[4] for entry in found]
        for host, port, error in [
            ("127.0.0.1", "no such service", socket.gaierror),
            (None, None, socket.gaierror),
            (1, 80, TypeError),
        ]:
            with pytest.raises(error):
                await loop.getaddrinfo(host, port)

    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        runner.run(main())


@pytest.mark.parametrize("keep_alive", [None, True])
def test_keep_alive(keep_alive):
    async def main():
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)

        async with await loop.create_server(
            Protocol, "127.0.0.1", 0, keep_alive=keep_alive
        ) as server:
            assert server.is_serving()
            transport, _ = await loop.create_connection(
                asyncio.Protocol, *server.sockets[0].getsockname()
            )
            accepted = await made
            sock = accepted.get_extra_info("socket")
            assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is bool(keep_alive)
            accepted.abort()
            transport.abort()

    plait.run(asyncio.wait_for(main(), 30))


def test_keep_alive_starts_only_what_is_to_start():
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            server = await loop.create_server(
                asyncio.Protocol, "127.0.0.1", 0, keep_alive=True, start_serving=False
            )
            assert not server.is_serving()
            server.close()

    plait.run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio has them from 3.13 on")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_servers_end_their_connections(factory, method):
    async def main():
        connected = asyncio.Queue()
        server = await asyncio.start_server(
            lambda _, writer: connected.put_nowait(writer), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        accepted = await connected.get()
        server.close()
        getattr(server, method)()
        assert accepted.transport.is_closing()
        await server.wait_closed()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            assert method == "abort_clients"
        writer.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main(), 30))


def test_the_options_are_asyncios():
    theirs = inspect.signature(asyncio.BaseEventLoop.getaddrinfo).parameters
    assert list(inspect.signature(plait.EventLoop.getaddrinfo).parameters) == list(theirs)
    if sys.version_info >= (3, 13):
        assert plait.EventLoop.create_server is asyncio.BaseEventLoop.create_server
