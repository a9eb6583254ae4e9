"""Numeric addresses without a thread; the options of servers."""

import asyncio
import functools
import inspect
import socket
import sys
import threading

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


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "127.1",
        "127.0.0.01",
        "0x7f.0.0.1",
        "::",
        "::1",
        "0:0:0:0:0:0:0:1",
        "::ffff:1.2.3.4",
        "::1.2.3.4",
        "2001:DB8::00ff",
        "fe80::1%lo",
        "",
        None,
        b"127.0.0.1",
        "1.2.3.4.5",
    ],
)
@pytest.mark.parametrize(
    "port", [0, 80, 65535, 65536, -1, "80", "080", "", " 80", b"80", None, 1.5]
)
def test_the_answers_are_those_of_the_socket_module(host, port):
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    tcp, udp = socket.IPPROTO_TCP, socket.IPPROTO_UDP
    options = [
        {"family": family, "type": kind, "proto": proto, "flags": flags | socket.AI_NUMERICHOST}
        for family in (0, socket.AF_INET, socket.AF_INET6)
        for kind, proto in [(stream, 0), (stream, tcp), (stream, udp), (datagram, udp), (0, 0)]
        for flags in (0, socket.AI_PASSIVE, socket.AI_V4MAPPED | socket.AI_ALL)
    ]

    def outcome(answer):
        try:
            return [[(type(each), each) for each in entry] for entry in answer()]
        except (OSError, TypeError, OverflowError) as error:
            return type(error), error.args

    def ours(**each):
        # What comes before: the flag that keeps the model from asking a server is not among
        # those that can be answered so.
        flags = each.pop("flags") & ~socket.AI_NUMERICHOST
        answer = loop._numeric_address(
            host, port, each["family"], each["type"], each["proto"], flags
        )
        answers.append(answer)
        if answer is None:
            return socket.getaddrinfo(host, port, **each, flags=flags | socket.AI_NUMERICHOST)
        return answer

    answers = []
    loop = plait.new_event_loop()
    try:
        for each in options:
            theirs = outcome(lambda each=each: socket.getaddrinfo(host, port, **each))
            assert outcome(lambda each=each: ours(**each)) == theirs
    finally:
        loop.close()
    if host in ("127.0.0.1", "::1") and port in (80, "80"):
        assert sum(answer is not None for answer in answers) == 2 * 2 * 3


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "a.name.that.is.pinned"])
def test_who_replaces_the_look_up_is_asked(run, monkeypatch, host):
    """In a thread, for it may wait, and with the arguments of the caller."""
    calls = []
    pinned = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.1.2.3", 80))]

    @functools.wraps(socket.getaddrinfo)
    def look_up(*args):
        calls.append((threading.current_thread() is threading.main_thread(), args))
        return pinned

    async def main():
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        loop = asyncio.get_running_loop()
        assert await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM) == pinned

    run(main())
    assert calls == [(False, (host, 80, 0, socket.SOCK_STREAM, 0, 0))]


@pytest.mark.parametrize("debug", [False, True])
def test_names_and_what_is_wrong(factory, debug):
    async def main():
        loop = asyncio.get_running_loop()
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
