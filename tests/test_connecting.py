"""Connecting by name and serving on shared ports: what happy eyeballs tries and leaves, what two
servers of one port share, how long a server's queue is."""

import asyncio
import contextlib
import errno
import socket
import struct

import pytest
from both_loops import compare

STREAM, TCP = socket.SOCK_STREAM, socket.IPPROTO_TCP


def resolve_to(monkeypatch, *addresses):
    """Let the running loop find these addresses for every name; return where it connects to."""
    loop = asyncio.get_running_loop()
    tried = []

    async def getaddrinfo(host, port, **options):
        return [(socket.AF_INET, STREAM, TCP, "", address) for address in addresses]

    connect = loop.sock_connect

    def sock_connect(sock, address):
        tried.append(addresses.index(address))
        return connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return tried


@contextlib.contextmanager
def silent():
    """Give an address where connecting neither succeeds nor fails: nobody accepts, the queue is
    full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.05)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()


@contextlib.contextmanager
def refusing():
    """Give an address that is in use, and where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@contextlib.contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.mark.parametrize(
    ("kinds", "delay"),
    [
        ([silent, listening], 0.02),
        ([silent, silent, listening], 0.02),
        ([silent, refusing, listening], 0.02),
        # What is refused is not waited for.
        ([refusing, listening], 1000),
        ([refusing, listening], None),
    ],
    ids=lambda value: "+".join(each.__name__ for each in value) if type(value) is list else None,
)
def test_the_first_address_that_answers_is_taken(kinds, delay, monkeypatch):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            addresses = [stack.enter_context(kind()) for kind in kinds]
            tried = resolve_to(monkeypatch, *addresses)
            transport, _ = await loop.create_connection(
                asyncio.Protocol, "name", 1, happy_eyeballs_delay=delay
            )
            record.note("tried", *tried)
            record.note("taken", addresses.index(transport.get_extra_info("peername")))
            transport.abort()
            await asyncio.sleep(0)

    # That the tries which lost leave no descriptor is seen there.
    told = compare(scenario)
    assert told["notes"] == [("tried", *range(len(kinds))), ("taken", len(kinds) - 1)]
    assert told["reported"] == []


@pytest.mark.parametrize("delay", [None, 0.02])
def test_every_address_refuses(delay, monkeypatch):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        with refusing() as first, refusing() as second:
            resolve_to(monkeypatch, first, second)
            try:
                await loop.create_connection(
                    asyncio.Protocol, "name", 1, happy_eyeballs_delay=delay
                )
            except OSError as error:
                text = str(error)
                record.note(str(first[1]) in text, str(second[1]) in text, type(error).__name__)

    assert compare(scenario)["notes"] == [(True, True, "OSError")]


def test_a_cancelled_connection_leaves_no_try_behind(monkeypatch):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        with silent() as first, silent() as second:
            tried = resolve_to(monkeypatch, first, second)
            task = asyncio.create_task(
                loop.create_connection(asyncio.Protocol, "name", 1, happy_eyeballs_delay=0.001)
            )
            while len(tried) < 2:
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                record.note("cancelled")

    assert compare(scenario)["notes"] == [("cancelled",)]


def test_two_servers_share_a_port(run):
    """The kernel deals the connections out: both servers are given some."""

    async def main():
        served = [0, 0]

        def handler(number):
            async def handle(reader, writer):
                served[number] += 1
                writer.close()
                await writer.wait_closed()

            return handle

        first = await asyncio.start_server(handler(0), "127.0.0.1", 0, reuse_port=True)
        address = first.sockets[0].getsockname()
        with pytest.raises(OSError, match="address already in use") as caught:
            await asyncio.start_server(handler(1), *address)
        assert caught.value.errno == errno.EADDRINUSE
        second = await asyncio.start_server(handler(1), *address, reuse_port=True)
        made = 0
        while not all(served):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            made += 1
            assert made < 1000
        assert sum(served) == made
        # The one that is left has them all.
        first.close()
        await first.wait_closed()
        before = list(served)
        for _ in range(20):
            reader, writer = await asyncio.open_connection(*address)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert served == [before[0], before[1] + 20]
        second.close()
        await second.wait_closed()

    run(main())


def queue(listener):
    """Return how many connections wait to be accepted, and how many may."""
    # In `struct tcp_info`: eight single bytes, then words.
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    waiting, limit = struct.unpack_from("II", info, 24)
    return waiting, limit


@pytest.mark.parametrize("backlog", [1, 7, None])
def test_backlog(run, backlog):
    """The kernel is told of it, and more connections than it allows at once are served in turn."""

    async def main():
        loop = asyncio.get_running_loop()
        options = {} if backlog is None else {"backlog": backlog}
        served = []

        class Count(asyncio.Protocol):
            def connection_made(self, transport):
                served.append(transport)
                transport.close()

        server = await loop.create_server(Count, "127.0.0.1", 0, start_serving=False, **options)
        listener = server.sockets[0]
        await server.start_serving()
        assert queue(listener) == (0, backlog or 100)
        for _ in range(10):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        assert len(served) == 10
        assert queue(listener)[0] == 0
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_getnameinfo(run, debug):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(debug)
        numbers = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), numbers) == ("127.0.0.1", "80")
        assert await loop.getnameinfo(("::1", 65535, 0, 0), numbers) == ("::1", "65535")
        for address, flags in [(("127.0.0.1", 80), 0), (("203.0.113.7", 1), numbers)]:
            assert await loop.getnameinfo(address, flags) == socket.getnameinfo(address, flags)
        with pytest.raises(socket.gaierror):
            await loop.getnameinfo(("no number", 80), socket.NI_NUMERICHOST)
        with pytest.raises(TypeError):
            await loop.getnameinfo("127.0.0.1", 0)

    run(main())
