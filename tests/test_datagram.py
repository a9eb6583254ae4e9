"""Datagrams, UDP and Unix, on plait's loop and, as the model, on asyncio's."""

import asyncio
import contextlib
import contextvars
import errno
import gc
import logging
import os
import socket
import sys
import weakref

import pytest

import plait

# Empty datagrams are sent, and what waits counts its header, from 3.13 on.
SINCE_313 = sys.version_info >= (3, 13)
HEADER = 8 if SINCE_313 else 0


class Recorder(asyncio.DatagramProtocol):
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []
        self.received = asyncio.Queue()
        self.errors = asyncio.Queue()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))

    def error_received(self, exc):
        self.errors.put_nowait(exc)

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        self.ended.set_result(exc)


class Echo(Recorder):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


async def endpoint(factory=Recorder, **options):
    if not options:
        options = {"local_addr": ("127.0.0.1", 0)}
    return await asyncio.get_running_loop().create_datagram_endpoint(factory, **options)


def name(transport):
    return transport.get_extra_info("sockname")


async def close(*transports):
    for transport in transports:
        protocol = transport.get_protocol()
        transport.close()
        assert await protocol.ended is None


FAMILIES = ["127.0.0.1", "::1"]


@pytest.mark.parametrize("host", FAMILIES)
def test_echo_between_unconnected(run, host):
    async def main():
        server, served = await endpoint(Echo, local_addr=(host, 0))
        client, got = await endpoint(local_addr=(host, 0))
        for size in (1, 1024, 60000):
            data = os.urandom(size)
            client.sendto(data, name(server))
            assert await got.received.get() == (data, name(server))
            data_there, sender = await served.received.get()
            assert (data_there, sender) == (data, name(client))
            assert type(data_there) is bytes
            assert type(sender) is tuple
        await close(server, client)

    run(main())


@pytest.mark.parametrize("host", FAMILIES)
def test_connected(run, host):
    async def main():
        server, _ = await endpoint(Echo, local_addr=(host, 0))
        client, got = await endpoint(remote_addr=name(server)[:2])
        assert client.get_extra_info("peername") == name(server)
        client.sendto(b"abc")
        client.sendto(bytearray(b"def"), None)
        client.sendto(memoryview(b"ghi"), name(server))
        assert [(await got.received.get())[0] for _ in range(3)] == [b"abc", b"def", b"ghi"]
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client.sendto(b"x", (host, 1))
        assert not client.is_closing()
        await close(server, client)

    run(main())


def test_many_peers(run):
    async def main():
        server, _ = await endpoint(Echo)
        clients = [await endpoint() for _ in range(100)]
        for _ in range(3):
            for client, _ in clients:
                client.sendto(repr(name(client)).encode(), name(server))
            for client, got in clients:
                data, sender = await got.received.get()
                assert (data, sender) == (repr(name(client)).encode(), name(server))
        await close(server, *(client for client, _ in clients))

    run(main())


def test_addresses_in_every_form(run):
    async def main():
        server, served = await endpoint(local_addr=("::1", 0))
        client, _ = await endpoint(local_addr=("::1", 0))
        port = name(server)[1]
        for address in [
            ("::1", port),
            ("::1", port, 0),
            ("::1", port, 0, 0),
            ("0:0:0:0:0:0:0:1", port),
        ]:
            client.sendto(b"x", address)
            assert (await served.received.get())[1] == name(client)
        await close(server, client)

        server, served = await endpoint()
        client, _ = await endpoint()
        port = name(server)[1]
        for address in [("127.0.0.1", port), ("localhost", port), (b"127.0.0.1", port)]:
            client.sendto(b"x", address)
            assert (await served.received.get())[1] == name(client)
        await close(server, client)

    run(main())


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (None, TypeError),
        ("127.0.0.1", TypeError),
        (("127.0.0.1",), TypeError),
        (("127.0.0.1", "80"), TypeError),
        (("127.0.0.1", 1 << 16), OverflowError),
        (("127.0.0.1", -1), OverflowError),
    ],
)
def test_a_wrong_address_ends_the_transport(run, address, error):
    async def main():
        transport, protocol = await endpoint()
        transport.sendto(b"x", address)
        assert isinstance(await protocol.ended, error)
        assert [type(context["exception"]) for context in run.reported] == [error]
        assert run.reported[0]["message"] == "Fatal write error on datagram transport"

    run(main())


def test_a_name_that_nobody_knows_is_the_protocols(run):
    async def main():
        transport, protocol = await endpoint()
        transport.sendto(b"x", ("no such host.invalid", 1))
        assert isinstance(await protocol.errors.get(), (socket.gaierror, UnicodeError))
        await close(transport)

    run(main())


def test_data_that_is_none(run):
    async def main():
        transport, _ = await endpoint()
        with pytest.raises(TypeError, match="must be a bytes-like object, not 'str'"):
            transport.sendto("text", name(transport))
        await close(transport)

    run(main())


def test_empty_datagrams(run):
    async def main():
        server, served = await endpoint()
        client, _ = await endpoint()
        client.sendto(b"", name(server))
        client.sendto(b"full", name(server))
        expected = [b"", b"full"] if SINCE_313 else [b"full"]
        assert [(await served.received.get())[0] for _ in expected] == expected
        # Received they are everywhere.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", name(server))
            assert (await served.received.get())[0] == b""
        await close(server, client)

    run(main())


def test_a_refusal_is_told_and_ends_nothing(run):
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            nobody = sock.getsockname()
        transport, protocol = await endpoint(remote_addr=nobody)
        transport.sendto(b"x")
        assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
        assert not transport.is_closing()
        await close(transport)

    run(main())


def test_what_is_too_long_is_told_at_once(run):
    async def main():
        server, _ = await endpoint()
        transport, protocol = await endpoint()
        transport.sendto(bytes(1 << 17), name(server))
        assert protocol.errors.get_nowait().errno == errno.EMSGSIZE
        await close(server, transport)

    run(main())


def test_what_error_received_raises_in_sendto_is_the_callers(run):
    class Protocol(Recorder):
        def error_received(self, exc):
            raise ZeroDivisionError

    async def main():
        transport, _ = await endpoint(Protocol)
        with pytest.raises(ZeroDivisionError):
            transport.sendto(bytes(1 << 17), name(transport))
        await close(transport)

    run(main())
    assert not run.reported


def test_what_the_protocol_raises_is_reported_and_ends_nothing(run):
    class Protocol(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise KeyError("made")

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            raise KeyError(data)

        def connection_lost(self, exc):
            super().connection_lost(exc)
            raise KeyError("lost")

    async def main():
        transport, protocol = await endpoint(Protocol)
        for data in (b"a", b"b"):
            transport.sendto(data, name(transport))
            assert await protocol.received.get() == (data, name(transport))
        await close(transport)

    run(main())
    raised = [context["exception"].args[0] for context in run.reported]
    assert raised == ["made", b"a", b"b", "lost"]


def test_a_protocol_without_the_method_is_no_endless_loop(run):
    class Protocol:
        def connection_made(self, transport):
            self.transport = transport

        def connection_lost(self, exc):
            ended.set_result(exc)

    async def main():
        global ended
        ended = asyncio.get_running_loop().create_future()
        transport, _ = await endpoint(Protocol)
        transport.sendto(b"x", name(transport))
        while not run.reported:
            await asyncio.sleep(0)
        transport.close()
        await ended

    run(main())
    assert [type(context["exception"]) for context in run.reported] == [AttributeError]


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_the_two_that_end_the_loop(end):
    class Protocol(Recorder):
        def datagram_received(self, data, addr):
            raise end

    loop = plait.new_event_loop()

    async def main():
        transport, protocol = await endpoint(Protocol)
        transport.sendto(b"x", name(transport))
        try:
            await asyncio.sleep(30)
        finally:
            transport.close()
            await protocol.ended

    task = loop.create_task(main())
    with pytest.raises(end):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def unix_name(tmp_path, kind, who):
    return str(tmp_path / who) if kind == "path" else f"\0plait-{os.getpid()}-{who}"


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_unix(run, tmp_path, kind):
    async def main():
        server_name = unix_name(tmp_path, kind, "server")
        client_name = unix_name(tmp_path, kind, "ünicode" if kind == "path" else "client")
        seen = client_name if kind == "path" else client_name.encode()
        server, served = await endpoint(Echo, family=socket.AF_UNIX, local_addr=server_name)
        client, got = await endpoint(
            family=socket.AF_UNIX, local_addr=client_name, remote_addr=server_name
        )
        client.sendto(b"hello")
        assert await served.received.get() == (b"hello", seen)
        there = server_name if kind == "path" else server_name.encode()
        assert await got.received.get() == (b"hello", there)
        client.sendto(b"again")
        assert (await got.received.get())[0] == b"again"
        await close(server, client)

    run(main())


def test_unix_unnamed_sender(run, tmp_path):
    async def main():
        path = str(tmp_path / "s")
        server, served = await endpoint(family=socket.AF_UNIX, local_addr=path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", path)
        assert await served.received.get() == (b"x", None)
        await close(server)

    run(main())


def test_a_pair_needs_no_address():
    # asyncio's loop passes None on for an address, and refuses.
    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with peer:
            transport, protocol = await endpoint(sock=ours)
            transport.sendto(b"x")
            assert peer.recv(10) == b"x"
            peer.send(b"y")
            assert await protocol.received.get() == (b"y", None)
            await close(transport)

    plait.run(asyncio.wait_for(main(), 30))


async def full_transport(factory=Recorder):
    """Return a transport with no room, its protocol, and the peer's socket."""
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"\0plait-{os.getpid()}-peer".encode()
    peer.bind(name)
    peer.setblocking(False)
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.sendto(b"fill", name)
    transport, protocol = await endpoint(factory, sock=ours)
    return transport, protocol, peer, name


def drain(peer):
    received = []
    while True:
        try:
            received.append(peer.recv(1 << 16))
        except BlockingIOError:
            return [data for data in received if data != b"fill"]


async def receive(peer, count):
    received = []
    while len(received) < count:
        received += drain(peer)
        await asyncio.sleep(0)
    return received


def test_what_finds_no_room_waits_in_order(run):
    async def main():
        transport, _, peer, name = await full_transport()
        assert transport.get_write_buffer_size() == 0
        sent = [bytes([i]) * 100 for i in range(20)]
        data = bytearray(100)
        for one in sent:
            data[:] = one
            transport.sendto(data, name)  # and what waits does not change with it
        assert transport.get_write_buffer_size() == 20 * (100 + HEADER)
        assert await receive(peer, 20) == sent
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)
        transport.sendto(b"last", name)
        assert await receive(peer, 1) == [b"last"]
        peer.close()
        await close(transport)

    if not run.is_plait and SINCE_313 and sys.version_info < (3, 13, 1):
        pytest.skip("asyncio of 3.13.0 forgets the headers of what it has sent")
    run(main())


def test_flow_control(run):
    async def main():
        transport, protocol, peer, name = await full_transport()
        transport.set_write_buffer_limits(high=1000, low=100)
        assert transport.get_write_buffer_limits() == (100, 1000)
        while "pause" not in protocol.calls:
            transport.sendto(bytes(90), name)
        assert transport.get_write_buffer_size() > 1000
        while "resume" not in protocol.calls:
            drain(peer)
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() <= 100
        assert protocol.calls == ["made", "pause", "resume"]
        transport.abort()
        await protocol.ended
        peer.close()

    if not run.is_plait and SINCE_313:
        pytest.skip("asyncio of 3.13.0 forgets the headers of what it has sent")
    run(main())


def test_close_waits_for_what_waits(run):
    async def main():
        transport, protocol, peer, name = await full_transport()
        for i in range(5):
            transport.sendto(b"%d" % i, name)
        transport.close()
        assert transport.is_closing()
        assert await receive(peer, 5) == [b"0", b"1", b"2", b"3", b"4"]
        assert await protocol.ended is None
        peer.close()

    run(main())


def test_close_after_an_error_in_the_last_that_waits():
    # asyncio's loop then waits for ever: nothing is left whose sending would end it.
    async def main():
        transport, protocol, peer, name = await full_transport()
        transport.sendto(b"x", name)
        transport.close()
        peer.close()
        assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
        assert await protocol.ended is None

    plait.run(asyncio.wait_for(main(), 30))


def test_abort_forgets_what_waits(run):
    async def main():
        transport, protocol, peer, name = await full_transport()
        transport.sendto(b"lost", name)
        transport.abort()
        assert await protocol.ended is None
        assert drain(peer) == []
        peer.close()

    run(main())


def test_after_the_end(run, caplog):
    async def main():
        server, _ = await endpoint()
        transport, protocol = await endpoint(remote_addr=name(server))
        await close(transport)
        transport.close()
        transport.abort()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(8):
                transport.sendto(b"x")
        said = {record.getMessage() for record in caplog.records}
        assert said == {"socket.send() raised exception."}
        assert "closed" in repr(transport)
        assert protocol.calls == ["made", "lost"]
        await close(server)

    run(main())


def test_close_inside_a_callback(run):
    class Protocol(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.close()

    async def main():
        transport, protocol = await endpoint(Protocol)
        for _ in range(5):
            transport.sendto(b"x", name(transport))
        assert await protocol.ended is None
        assert protocol.received.qsize() == 1

    run(main())


@pytest.mark.needs_mended_model
def test_pause_inside_a_callback(run):
    class Protocol(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.pause_reading()

    async def main():
        transport, protocol = await endpoint(Protocol)
        for i in range(3):
            transport.sendto(b"%d" % i, name(transport))
        for i in range(3):
            assert (await protocol.received.get())[0] == b"%d" % i
            assert not transport.is_reading()
            for _ in range(3):
                await asyncio.sleep(0)
            assert protocol.received.empty()
            transport.resume_reading()
            assert transport.is_reading()
        await close(transport)

    run(main())


def test_one_busy_socket_does_not_starve_the_others():
    async def main():
        loop = asyncio.get_running_loop()

        class Flood(Recorder):
            count = 0

            def datagram_received(self, data, addr):
                self.count += 1
                self.transport.sendto(data, name(self.transport))

        transport, protocol = await endpoint(Flood)
        for _ in range(64):
            transport.sendto(b"x", name(transport))
        turned = loop.create_future()
        loop.call_later(0.05, turned.set_result, None)
        await turned
        assert protocol.count > 64
        transport.abort()
        await protocol.ended

    plait.run(asyncio.wait_for(main(), 30))


def test_a_change_of_protocol(run):
    async def main():
        transport, first = await endpoint()
        transport.sendto(b"1", name(transport))
        await first.received.get()
        second = Recorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.sendto(b"2", name(transport))
        assert (await second.received.get())[0] == b"2"
        assert first.received.empty()
        await close(transport)

    run(main())


def test_context(run):
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    class Protocol(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(variable.get())

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            seen.append(variable.get())

        def connection_lost(self, exc):
            super().connection_lost(exc)
            seen.append(variable.get())

    async def main():
        variable.set("inside")
        transport, protocol = await endpoint(Protocol)
        variable.set("later")
        transport.sendto(b"x", name(transport))
        await protocol.received.get()
        variable.set("inside")
        await close(transport)

    run(main())
    assert seen == ["inside"] * 3


def test_other_families_go_through_the_socket():
    # One whose addresses the native code does not know.
    netlink_route, rtm_getlink, dump = 0, 18, 0x301

    async def main():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, netlink_route)
        sock.setblocking(False)
        sock.bind((0, 0))
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        protocol = Recorder()
        transport = loop._make_datagram_transport(sock, protocol, None, waiter)
        await waiter
        header = b"".join(
            n.to_bytes(size, sys.byteorder)
            for n, size in [(32, 4), (rtm_getlink, 2), (dump, 2), (1, 4), (0, 4)]
        )
        transport.sendto(header + bytes(16), (0, 0))
        data, sender = await protocol.received.get()
        assert sender == (0, 0)
        assert data
        await close(transport)

    plait.run(asyncio.wait_for(main(), 30))


def test_extra_information_and_attributes(run):
    async def main():
        transport, _ = await endpoint()
        sock = transport.get_extra_info("socket")
        assert sock.getsockname() == name(transport)
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("nothing", "default") == "default"
        transport.mine = 1
        assert transport.mine == 1
        assert weakref.ref(transport)() is transport
        assert "read=polling write=<idle, bufsize=0>" in repr(transport)
        assert isinstance(transport, asyncio.Transport)
        if run.is_plait or SINCE_313:
            assert isinstance(transport, asyncio.DatagramTransport)
        await close(transport)

    run(main())


def test_options_of_the_endpoint(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await endpoint(
            local_addr=("127.0.0.1", 0), reuse_port=True, allow_broadcast=True
        )
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        second, _ = await endpoint(local_addr=name(transport), reuse_port=True)
        with pytest.raises(OSError, match="in use"):
            await endpoint(local_addr=name(transport))
        with socket.socket() as tcp, pytest.raises(ValueError, match="was expected"):
            await loop.create_datagram_endpoint(Recorder, sock=tcp)
        await close(transport, second)

    run(main())


def test_a_forked_child_sends_nothing():
    async def main():
        server, served = await endpoint()
        client, _ = await endpoint()
        child = os.fork()
        if not child:
            status = 1
            try:
                client.sendto(b"from the child", name(server))
            except RuntimeError as error:
                status = 0 if "forked" in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222  (the child ends at once)
        client.sendto(b"from the parent", name(server))
        assert (await served.received.get())[0] == b"from the parent"
        await close(server, client)

    plait.run(asyncio.wait_for(main(), 30))


def test_the_loop_can_be_closed_with_one_open():
    loop = plait.new_event_loop()

    async def main():
        transport, _ = await endpoint()
        transport.sendto(b"x", name(transport))
        return transport

    transport = loop.run_until_complete(main())
    sock = transport.get_extra_info("socket")
    loop.close()
    transport.pause_reading()
    del transport
    with pytest.warns(ResourceWarning):
        del sock
        gc.collect()


def test_cycles_are_collected():
    async def main():
        alive = []
        for _ in range(50):
            transport, protocol = await endpoint()
            transport.cycle = (transport, protocol)
            alive.append(weakref.ref(transport))
            transport.sendto(b"x", name(transport))
            await protocol.received.get()
            await close(transport)
            del transport, protocol
        gc.collect()
        assert sum(ref() is not None for ref in alive) == 0

    plait.run(asyncio.wait_for(main(), 30))
