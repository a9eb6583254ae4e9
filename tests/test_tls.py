"""TLS on plait's loop: the data whole in every shape, and each end as on asyncio's loop."""

import asyncio
import asyncio.sslproto
import contextlib
import gc
import socket
import ssl
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

import plait

LIMIT = 30
LOOPS = {"plait": plait.new_event_loop, "asyncio": asyncio.new_event_loop}
PAIRS = [("plait", "asyncio"), ("asyncio", "plait"), ("plait", "plait")]
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Contexts:
    def __init__(self):
        self.authority = trustme.CA()
        self.certificate = self.authority.issue_cert("localhost")

    def server(self, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        return self._limit(context, version)

    def client(self, version=None):
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return self._limit(context, version)

    def _limit(self, context, version):
        if version is not None:
            context.minimum_version = context.maximum_version = VERSIONS[version]
        return context


@pytest.fixture(scope="module")
def contexts():
    return Contexts()


async def all_ended():
    """Wait for the connections of this loop to end, the far side of each test's too."""
    loop = asyncio.get_running_loop()

    def is_open(each):
        return (
            isinstance(each, asyncio.sslproto.SSLProtocol)
            and each._loop is loop
            and each._transport is not None
        )

    while any(is_open(each) for each in gc.get_objects()):
        await asyncio.sleep(0.001)
    # What the ends have queued: the close of the socket, `connection_lost`.
    for _ in range(3):
        await asyncio.sleep(0)


def run(name, main):
    async def limited():
        async with asyncio.timeout(LIMIT):
            result = await main()
            await all_ended()
            return result

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        return runner.run(limited())


@contextlib.contextmanager
def serving(name, start):
    """Run a server on a loop of its own, in a thread; give its address."""
    address, ready, loops = [], threading.Event(), []

    async def main():
        done = asyncio.Event()
        loops.append((asyncio.get_running_loop(), done))
        server = await start()
        address.append(server.sockets[0].getsockname())
        ready.set()
        await done.wait()
        server.close()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, name, main)
        future.add_done_callback(lambda _: ready.set())
        assert ready.wait(LIMIT)
        if not address:
            future.result()
        try:
            yield address[0]
        finally:
            loop, done = loops[0]
            loop.call_soon_threadsafe(done.set)
            future.result(LIMIT)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    SIZE = 10_000

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(self.SIZE)

    def get_buffer(self, sizehint):
        # A view: asyncio slices what it gets, and loses data in a copy.
        return memoryview(self.buffer)

    def buffer_updated(self, count):
        self.transport.write(bytes(self.buffer[:count]))


class Collect(asyncio.Protocol):
    """Gathers until `size` bytes are there, then closes."""

    def __init__(self, size):
        self.size = size
        self.received = bytearray()
        self.full = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        if len(self.received) >= self.size and not self.full.done():
            self.full.set_result(None)

    def connection_lost(self, error):
        self.lost.set_result(error)
        if not self.full.done():
            self.full.set_exception(error or ConnectionError("closed too early"))


def pattern(size):
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("echo", [Echo, BufferedEcho])
def test_data_of_every_size(contexts, pair, version, echo):
    def start():
        loop = asyncio.get_running_loop()
        return loop.create_server(echo, "127.0.0.1", 0, ssl=contexts.server(version))

    async def client():
        loop = asyncio.get_running_loop()
        context = contexts.client(version)
        for size in (1, 2, 1_024, 16_383, 16_384, 16_385, 100_000, 1_000_000, 10_000_000):
            sent = pattern(size)
            transport, protocol = await loop.create_connection(
                lambda size=size: Collect(size), *address, ssl=context, server_hostname="localhost"
            )
            transport.write(sent)
            await protocol.full
            assert protocol.received == sent
            transport.close()
            assert await protocol.lost is None

    with serving(pair[0], start) as address:
        run(pair[1], client)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_data_and_many_at_once(contexts, kind):
    pieces = [b"a", b"", b"b" * 20_000, b"c"]

    def start():
        loop = asyncio.get_running_loop()
        return loop.create_server(Echo, "127.0.0.1", 0, ssl=contexts.server())

    async def client():
        loop = asyncio.get_running_loop()
        expected = b"".join(pieces) * 2 + b"end"
        transport, protocol = await loop.create_connection(
            lambda: Collect(len(expected)),
            *address,
            ssl=contexts.client(),
            server_hostname="localhost",
        )
        for piece in pieces:
            transport.write(kind(piece))
        transport.writelines([kind(piece) for piece in pieces if piece])
        transport.write(kind(b"end"))
        await protocol.full
        assert protocol.received == expected
        with pytest.raises(TypeError, match="bytes-like"):
            transport.write("text")
        transport.close()
        await protocol.lost

    with serving("asyncio", start) as address:
        run("plait", client)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_streams_and_flow_control(contexts, pair):
    total = 3_000_000

    async def echo(reader, writer):
        while data := await reader.read(50_000):
            writer.write(data)
            await writer.drain()
        writer.close()

    def start():
        return asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts.server(), limit=4_096)

    async def client():
        reader, writer = await asyncio.open_connection(
            *address, ssl=contexts.client(), server_hostname="localhost"
        )

        async def send():
            for _ in range(total // 100_000):
                writer.write(pattern(100_000))
                await writer.drain()

        sending = asyncio.create_task(send())
        for _ in range(total // 100_000):
            assert await reader.readexactly(100_000) == pattern(100_000)
        await sending
        writer.close()
        await writer.wait_closed()

    with serving(pair[0], start) as address:
        run(pair[1], client)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_start_tls_with_data_right_behind(contexts, pair):
    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"OK\n")
        await writer.start_tls(contexts.server())
        # Sent before the peer can have asked for it.
        writer.write(b"hello\n")
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    def start():
        return asyncio.start_server(upgrade, "127.0.0.1", 0)

    async def client():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"OK\n"
        await writer.start_tls(contexts.client(), server_hostname="localhost")
        assert writer.get_extra_info("cipher")
        writer.write(b"back\n")
        assert await reader.readline() == b"hello\n"
        assert await reader.readline() == b"back\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    with serving(pair[0], start) as address:
        run(pair[1], client)


def test_data_with_the_end_of_the_handshake_finds_the_new_transport(contexts):
    """On asyncio the protocol gets it while it knows the plain transport only."""

    class Upgrade(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.upgraded = asyncio.ensure_future(self.upgrade())

        async def upgrade(self):
            loop = asyncio.get_running_loop()
            self.transport = await loop.start_tls(
                self.transport, self, contexts.server("1.3"), server_side=True
            )

        def data_received(self, data):
            self.transport.write(data)

    def talk(address):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = contexts.client("1.3").wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(address, timeout=LIMIT) as raw:

            def until(step, *args):
                while True:
                    try:
                        return step(*args)
                    except ssl.SSLWantReadError:
                        raw.sendall(outgoing.read())
                        incoming.write(raw.recv(65536))

            until(tls.do_handshake)
            tls.write(b"hello")
            # One segment: the last of the handshake, and the data.
            raw.sendall(outgoing.read())
            return until(tls.read, 100)

    async def main():
        loop = asyncio.get_running_loop()
        made = []
        server = await loop.create_server(lambda: made.append(Upgrade()) or made[0], "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        assert await loop.run_in_executor(None, talk, address) == b"hello"
        made[0].transport.close()
        server.close()
        await server.wait_closed()

    run("plait", main)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_tls_inside_tls(contexts, pair):
    async def upgrade(reader, writer):
        await writer.start_tls(contexts.server())
        writer.write(await reader.readexactly(300_000))
        await writer.drain()
        writer.close()

    def start():
        return asyncio.start_server(upgrade, "127.0.0.1", 0, ssl=contexts.server())

    async def client():
        reader, writer = await asyncio.open_connection(
            *address, ssl=contexts.client(), server_hostname="localhost"
        )
        await writer.start_tls(contexts.client(), server_hostname="localhost")
        writer.write(pattern(300_000))
        assert await reader.readexactly(300_000) == pattern(300_000)
        writer.close()

    with serving(pair[0], start) as address:
        run(pair[1], client)


@pytest.mark.parametrize("name", LOOPS)
def test_what_the_handshake_agreed(contexts, name):
    """Client certificate, ALPN, server name, and a TLS object of the user's own class."""
    seen = {}

    class Counting(ssl.SSLObject):
        reads = 0

        def read(self, *args):
            type(self).reads += 1
            return super().read(*args)

    server_context = contexts.server()
    server_context.sslobject_class = Counting
    server_context.verify_mode = ssl.CERT_REQUIRED
    contexts.authority.configure_trust(server_context)
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    server_context.sni_callback = lambda _obj, server_name, _context: seen.update(sni=server_name)
    client_context = contexts.client()
    contexts.authority.issue_cert("me@example.org").configure_cert(client_context)
    client_context.set_alpn_protocols(["http/1.1"])

    async def handle(reader, writer):
        tls = writer.get_extra_info("ssl_object")
        seen.update(cls=type(tls), alpn=tls.selected_alpn_protocol())
        seen.update(subject=writer.get_extra_info("peercert")["subjectAltName"])
        seen.update(peername=writer.get_extra_info("peername"))
        writer.write(await reader.readexactly(5))
        writer.close()

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_context)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert seen.pop("peername") == writer.get_extra_info("sockname")
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(name, main)
    assert Counting.reads
    assert seen == {
        "sni": "localhost",
        "cls": Counting,
        "alpn": "http/1.1",
        "subject": (("email", "me@example.org"),),
    }


class Log(asyncio.Protocol):
    """Writes down what it is told; data in one piece, for its cuts are chance."""

    def __init__(self, loop):
        self.calls = []
        self.data = b""
        self.lost = loop.create_future()

    def note(self, *call):
        self.calls.append(call)

    def connection_made(self, transport):
        self.transport = transport
        self.note("connection_made")

    def data_received(self, data):
        self.data += data

    def eof_received(self):
        self.note("eof_received", self.data)

    def connection_lost(self, error):
        self.note("connection_lost", type(error), self.data)
        if not self.lost.done():
            self.lost.set_result(None)


class RaisesInData(Log):
    def data_received(self, data):
        super().data_received(data)
        raise ZeroDivisionError


class RaisesInEof(Log):
    def eof_received(self):
        super().eof_received()
        raise ZeroDivisionError


class ClosesInData(Log):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(b"bye")
        self.transport.close()
        self.transport.write(b"too late")


class AbortsInData(Log):
    def data_received(self, data):
        super().data_received(data)
        self.transport.abort()


class RepliesAtEof(Log):
    def eof_received(self):
        super().eof_received()
        self.transport.write(b"after the end")
        return True


def talk(tls):
    tls.sendall(b"hello")


def leave_politely(tls):
    tls.sendall(b"hello")
    with contextlib.suppress(OSError):
        tls.unwrap()


def leave_without_notify(tls):
    tls.sendall(b"hello")
    tls.shutdown(socket.SHUT_WR)
    drain(tls)


def send_garbage(tls):
    tls.sendall(b"hello")
    raw = socket.socket(fileno=tls.detach())
    with raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        raw.settimeout(LIMIT)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):
                pass


def reset(tls):
    tls.sendall(b"hello")
    raw = socket.socket(fileno=tls.detach())
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    raw.close()


def half_a_record(tls):
    outgoing = ssl.MemoryBIO()
    outgoing.write(b"\x17\x03\x03\x01")
    tls.sendall(b"hello")
    raw = socket.socket(fileno=tls.detach())
    with raw:
        raw.sendall(outgoing.read())


def drain(tls):
    got = b""
    with contextlib.suppress(OSError):
        while data := tls.recv(1000):
            got += data
    return got


def listen_until_the_end(tls):
    tls.sendall(b"hello")
    return drain(tls)


CASES = [
    (Log, talk),
    (Log, leave_politely),
    (Log, leave_without_notify),
    (Log, send_garbage),
    (Log, half_a_record),
    (RaisesInData, listen_until_the_end),
    (RaisesInEof, leave_politely),
    (RaisesInEof, leave_without_notify),
    (ClosesInData, listen_until_the_end),
    (AbortsInData, listen_until_the_end),
    (RepliesAtEof, leave_politely),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "behaviour"), CASES, ids=lambda each: each.__name__ if callable(each) else each
)
def test_each_end_is_as_on_asyncio(contexts, kind, behaviour, version):
    def client(address):
        context = contexts.client(version)
        with (
            socket.create_connection(address, timeout=LIMIT) as raw,
            context.wrap_socket(
                raw, server_hostname="localhost", suppress_ragged_eofs=False
            ) as tls,
        ):
            return behaviour(tls)

    def outcome(name):
        reported = []
        context = contexts.server(version)
        # Tickets that a client has not read when it closes turn its end into a reset.
        context.num_tickets = 0

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(
                lambda _, context: reported.append(
                    (context["message"], type(context.get("exception")))
                )
            )
            made = []

            def factory():
                made.append(kind(loop))
                return made[-1]

            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context)
            answer = await asyncio.to_thread(client, server.sockets[0].getsockname())
            (protocol,) = made
            await protocol.lost
            server.close()
            return protocol.calls, answer

        return *run(name, main), reported

    expected = outcome("asyncio")
    assert expected[0]
    assert outcome("plait") == expected


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_data_on_its_way_when_we_close_is_no_error(contexts, version, paused):
    """asyncio's connection is lost with APPLICATION_DATA_AFTER_CLOSE_NOTIFY then."""
    closed = threading.Event()

    def serve(listener):
        connection, _ = listener.accept()
        with contexts.server(version).wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"hello")
            assert closed.wait(LIMIT)
            for _ in range(10):
                tls.sendall(bytes(20_000))
            tls.unwrap().close()

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            served = loop.run_in_executor(None, serve, listener)
            transport, protocol = await loop.create_connection(
                lambda: Log(loop),
                *listener.getsockname(),
                ssl=contexts.client(version),
                server_hostname="localhost",
            )
            while not protocol.data:
                await asyncio.sleep(0.001)
            if paused:
                transport.pause_reading()
            transport.close()
            closed.set()
            await protocol.lost
            await served
        assert protocol.calls[-1] == ("connection_lost", type(None), b"hello")

    run("plait", main)


def test_a_reset_ends_the_connection(contexts):
    async def main():
        loop = asyncio.get_running_loop()
        protocol = Log(loop)
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=contexts.server())

        def client(address):
            context = contexts.client()
            raw = socket.create_connection(address, timeout=LIMIT)
            reset(context.wrap_socket(raw, server_hostname="localhost"))

        await asyncio.to_thread(client, server.sockets[0].getsockname())
        await protocol.lost
        server.close()
        # Whether the reset overtakes the data is the kernel's affair.
        assert protocol.calls[-1][:2] in [
            ("connection_lost", ConnectionResetError),
            ("connection_lost", type(None)),
        ]

    run("plait", main)


@pytest.mark.parametrize("name", LOOPS)
def test_nothing_is_delivered_while_paused(contexts, name):
    class Paused(Log):
        def data_received(self, data):
            assert not self.paused
            super().data_received(data)
            if len(self.data) == size and not self.lost.done():
                self.lost.set_result(None)

        def connection_made(self, transport):
            super().connection_made(transport)
            self.paused = True
            transport.pause_reading()

    size = 2_000_000

    async def main():
        loop = asyncio.get_running_loop()
        protocol = Paused(loop)
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=contexts.server())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=contexts.client(), server_hostname="localhost"
        )
        writer.write(pattern(size))
        while not protocol.calls:
            await asyncio.sleep(0)
        # As much arrives as the marks let in, then the peer's writes wait.
        while (
            protocol.transport.get_read_buffer_size()
            < protocol.transport.get_read_buffer_limits()[1]
        ):
            await asyncio.sleep(0)
        assert not protocol.transport.is_reading()
        assert protocol.data == b""
        protocol.paused = False
        protocol.transport.resume_reading()
        await protocol.lost
        assert protocol.data == pattern(size)
        protocol.transport.close()
        assert await reader.read() == b""
        writer.close()
        server.close()

    run(name, main)


@pytest.mark.parametrize("name", LOOPS)
def test_a_writer_is_paused_at_both_levels(contexts, name):
    """The socket's buffer fills, then asyncio's for TLS: only that pauses the application."""

    class Writer(Log):
        def pause_writing(self):
            self.note("pause_writing")
            paused.set()

        def resume_writing(self):
            self.note("resume_writing")
            resumed.set()

    async def main():
        nonlocal paused, resumed
        paused, resumed = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        protocol = Writer(loop)
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=contexts.server())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=contexts.client(),
            server_hostname="localhost",
            limit=1_000,
        )
        writer.write(b"x")
        while not protocol.data:
            await asyncio.sleep(0)
        low, high = protocol.transport.get_write_buffer_limits()
        assert (low, high) == (128 * 1024, 512 * 1024)
        written = 0
        while not paused.is_set():
            protocol.transport.write(pattern(100_000))
            written += 100_000
            await asyncio.sleep(0)
        assert protocol.transport.get_write_buffer_size() >= high
        read = 0
        while read < written:
            data = await reader.read(100_000)
            at = read % 100_000
            assert data == (pattern(100_000) * 2)[at : at + len(data)]
            read += len(data)
        await resumed.wait()
        assert protocol.transport.get_write_buffer_size() == 0
        protocol.transport.close()
        writer.close()
        server.close()
        return [call[0] for call in protocol.calls]

    paused = resumed = None
    assert run(name, main)[:3] == ["connection_made", "pause_writing", "resume_writing"]


def test_limits_are_set_and_read_as_integers(contexts):
    async def main():
        server = await asyncio.start_server(
            lambda r, w: w.close(), "127.0.0.1", 0, ssl=contexts.server()
        )
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=contexts.client(), server_hostname="localhost"
        )
        transport = writer.transport
        transport.set_write_buffer_limits(high=1_000)
        transport.set_read_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (250, 1_000)
        assert transport.get_read_buffer_limits() == (10, 40)
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(high=1, low=2)
        assert await reader.read() == b""
        writer.close()
        server.close()

    run("plait", main)


@pytest.mark.parametrize("name", LOOPS)
def test_a_handshake_that_never_comes_times_out(contexts, name):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            loop = asyncio.get_running_loop()
            with pytest.raises(ConnectionAbortedError, match="handshake is taking longer"):
                await loop.create_connection(
                    asyncio.Protocol,
                    *listener.getsockname(),
                    ssl=contexts.client(),
                    server_hostname="localhost",
                    ssl_handshake_timeout=0.05,
                )

    run(name, main)


@pytest.mark.parametrize("name", LOOPS)
def test_an_aborted_handshake_reaches_no_protocol(contexts, name):
    made = []

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: made.append(Log(loop)) or made[-1], "127.0.0.1", 0, ssl=contexts.server()
        )

        def client(first):
            with socket.create_connection(server.sockets[0].getsockname()) as sock:
                sock.sendall(first)
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(1000):
                        pass

        reported = []
        loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
        await asyncio.to_thread(client, b"")
        await asyncio.to_thread(client, b"GET / HTTP/1.1\r\n\r\n")
        server.close()

    run(name, main)
    assert [protocol.calls for protocol in made] == [[], []]


def test_a_peer_that_never_answers_the_close_is_dropped(contexts):
    async def main():
        loop = asyncio.get_running_loop()
        protocol = ClosesInData(loop)
        server = await loop.create_server(
            lambda: protocol, "127.0.0.1", 0, ssl=contexts.server(), ssl_shutdown_timeout=0.05
        )
        answered = threading.Event()

        def client():
            context = contexts.client()
            with (
                socket.create_connection(server.sockets[0].getsockname()) as raw,
                context.wrap_socket(raw, server_hostname="localhost") as tls,
            ):
                tls.sendall(b"hello")
                assert answered.wait(LIMIT)

        talking = asyncio.create_task(asyncio.to_thread(client))
        await protocol.lost
        answered.set()
        await talking
        server.close()
        assert protocol.calls[-1] == ("connection_lost", TimeoutError, b"hello")

    run("plait", main)


def test_a_closed_connection_leaves_nothing_behind(contexts):
    async def main():
        alive = []

        class Watched(Echo):
            def connection_made(self, transport):
                super().connection_made(transport)
                alive.append(weakref.ref(self))
                alive.append(weakref.ref(transport))

        loop = asyncio.get_running_loop()
        server = await loop.create_server(Watched, "127.0.0.1", 0, ssl=contexts.server())
        for _ in range(20):
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=contexts.client(), server_hostname="localhost"
            )
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return alive

    alive = run("plait", main)
    gc.collect()
    assert len(alive) == 40
    assert [each() for each in alive if each() is not None] == []


def test_ciphertext_buffers_belong_to_the_loop_not_to_the_connection(contexts):
    async def main():
        server = await asyncio.start_server(
            lambda r, w: w.close(), "127.0.0.1", 0, ssl=contexts.server()
        )
        _, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=contexts.client(), server_hostname="localhost"
        )
        assert len(writer.transport._ssl_protocol._ssl_buffer) == 0
        writer.close()
        await writer.wait_closed()
        server.close()

    run("plait", main)
