"""asyncio's streams, whose reader plait's loop feeds natively: on plait's loop and, as the model,
on asyncio's."""

import asyncio
import contextvars
import fcntl
import functools
import gc
import socket
import struct
import sys
import termios
import weakref

import pytest
from both_loops import FACTORIES, Session
from hypothesis import given, settings
from hypothesis import strategies as st

import plait


async def connect(limit=2**16, reader_class=asyncio.StreamReader, protocol_class=None):
    """A stream over one end of a socket pair, and the other end."""
    ours, peer = socket.socketpair()
    loop = asyncio.get_running_loop()
    reader = reader_class(limit=limit, loop=loop)
    protocol = (protocol_class or asyncio.StreamReaderProtocol)(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop), peer


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


async def hang_up(writer, peer):
    peer.close()
    writer.close()
    await writer.wait_closed()


def test_every_way_to_read(run):
    async def main():
        reader, writer, peer = await connect()
        peer.sendall(b"one\ntwo;three")
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b";") == b"two;"
        assert await reader.readexactly(2) == b"th"
        assert await reader.read(2) == b"re"
        assert await reader.read(100) == b"e"
        assert await reader.read(0) == b""
        exact = asyncio.create_task(reader.readexactly(300_000))
        whole = bytes(range(250)) * 1200
        await asyncio.to_thread(peer.sendall, whole)
        assert await exact == whole
        peer.sendall(b"left\nover")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: reader._eof)
        assert not reader.at_eof()
        assert [line async for line in reader] == [b"left\n", b"over"]
        assert reader.at_eof()
        assert await reader.read() == b""
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        await hang_up(writer, peer)

    run(main())
    assert run.reported == []


def test_read_to_the_end(run):
    async def main():
        reader, writer, peer = await connect(limit=100)
        data = bytes(range(256)) * 3000

        def send():
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

        sending = asyncio.create_task(asyncio.to_thread(send))
        assert await reader.read(-1) == data
        await sending
        await hang_up(writer, peer)

    run(main())


def test_over_the_limit(run):
    async def main():
        reader, writer, peer = await connect(limit=4)
        peer.sendall(b"abcdefgh")
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await reader.readuntil(b"\n")
        assert caught.value.consumed == 8
        peer.sendall(b"\nab\n")
        await until(lambda: len(reader._buffer) == 12)
        with pytest.raises(asyncio.LimitOverrunError) as caught:
            await reader.readuntil(b"\n")
        assert caught.value.consumed == 8
        with pytest.raises(ValueError, match="Separator is found, but chunk is longer"):
            await reader.readline()
        assert await reader.readline() == b"ab\n"
        await hang_up(writer, peer)

    run(main())


def test_pauses_above_twice_the_limit(run):
    async def main():
        reader, writer, peer = await connect(limit=10)
        peer.sendall(b"x" * 20)
        await until(lambda: len(reader._buffer) == 20)
        assert not reader._paused
        assert writer.transport.is_reading()
        peer.sendall(b"y")
        await until(lambda: reader._paused)
        assert not writer.transport.is_reading()
        peer.sendall(b"z" * 5)
        assert await reader.read(10) == b"x" * 10
        assert reader._paused
        assert len(reader._buffer) == 11
        assert await reader.read(1) == b"x"
        assert not reader._paused
        assert writer.transport.is_reading()
        assert await reader.readexactly(15) == b"x" * 9 + b"y" + b"z" * 5
        await hang_up(writer, peer)

    run(main())


@pytest.mark.parametrize("limit", [float("inf"), 10.5, True], ids=str)
def test_a_limit_that_is_no_ordinary_number(run, limit):
    async def main():
        reader, writer, peer = await connect(limit=limit)
        sent = 0
        while sent < 25 and not reader._paused:
            peer.sendall(b"x")
            sent += 1
            await until(functools.partial(has, reader, sent))
        await hang_up(writer, peer)
        return sent

    def has(reader, count):
        return len(reader._buffer) == count

    expected = {float("inf"): 25, 10.5: 22, True: 3}[limit]
    assert run(main()) == expected


def test_a_cancelled_read_loses_nothing(run):
    async def main():
        reader, writer, peer = await connect()
        for read in (reader.read, reader.readexactly):
            task = asyncio.create_task(read(4))
            await until(lambda: reader._waiter is not None)
            task.cancel()
            # Comes while the waiter is cancelled and still in its place.
            peer.sendall(b"kept")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await reader.readexactly(4) == b"kept"
        await hang_up(writer, peer)

    run(main())
    assert run.reported == []


def test_only_one_read_at_a_time(run):
    async def main():
        reader, writer, peer = await connect()
        task = asyncio.create_task(reader.read(4))
        await until(lambda: reader._waiter is not None)
        with pytest.raises(RuntimeError, match="while another coroutine is already waiting"):
            await reader.readline()
        peer.sendall(b"data")
        assert await task == b"data"
        await hang_up(writer, peer)

    run(main())


def test_a_reset_is_the_readers_exception(run):
    async def main():
        async with asyncio.timeout(20):
            loop = asyncio.get_running_loop()
            accepted = loop.create_future()
            server = await asyncio.start_server(
                lambda *streams: accepted.set_result(streams), "127.0.0.1", 0
            )
            async with server:
                client = socket.create_connection(server.sockets[0].getsockname())
                reader, writer = await accepted
                waiting = asyncio.create_task(reader.read(1))
                await until(lambda: reader._waiter is not None)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                with pytest.raises(ConnectionResetError):
                    await waiting
                assert isinstance(reader.exception(), ConnectionResetError)
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)
                writer.close()
                with pytest.raises(ConnectionResetError):
                    await writer.wait_closed()

    run(main())


def test_data_after_an_exception_is_kept(run):
    async def main():
        reader, writer, peer = await connect()
        reader.set_exception(ZeroDivisionError())
        peer.sendall(b"data")
        await until(lambda: reader._buffer == b"data")
        with pytest.raises(ZeroDivisionError):
            await reader.read(1)
        await hang_up(writer, peer)

    run(main())
    assert run.reported == []


def test_data_after_the_end_is_an_error(run):
    async def main():
        reader, writer, peer = await connect()
        reader.feed_eof()
        peer.sendall(b"data")
        with pytest.raises(AssertionError, match="feed_data after feed_eof"):
            await writer.wait_closed()
        assert isinstance(reader.exception(), AssertionError)
        assert reader._buffer == b""
        peer.close()

    run(main())
    (report,) = run.reported
    assert report["message"] == "Fatal error: protocol.data_received() call failed."
    assert isinstance(report["exception"], AssertionError)
    assert isinstance(report["protocol"], asyncio.StreamReaderProtocol)


def test_a_buffer_in_use_is_an_error(run):
    async def main():
        reader, writer, peer = await connect()
        peer.sendall(b"data")
        await until(lambda: reader._buffer)
        with memoryview(reader._buffer):
            peer.sendall(b"more")
            with pytest.raises(BufferError):
                await writer.wait_closed()
        assert reader._buffer == b"data"
        peer.close()

    run(main())
    (report,) = run.reported
    assert isinstance(report["exception"], BufferError)


def test_data_for_a_reader_that_is_gone_is_dropped(run):
    async def main():
        reader, writer, peer = await connect()
        fd = peer.fileno()
        writer._reader = None
        reader = weakref.ref(reader)
        gc.collect()
        assert reader() is None
        peer.sendall(b"data")
        # What the other end has not read counts as not sent yet.
        await until(lambda: fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)) == bytes(4))
        assert writer.transport.is_reading()
        writer.transport.abort()
        await writer.wait_closed()
        peer.close()

    run(main())
    assert run.reported == []


def test_a_protocol_without_a_reader(run):
    async def main():
        reader, writer, peer = await connect()
        writer.transport.get_protocol()._stream_reader_wr = None
        peer.sendall(b"data")
        peer.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.0)
        writer.transport.abort()
        await writer.wait_closed()
        assert reader._buffer == b""
        peer.close()

    run(main())
    assert run.reported == []


def test_a_transport_that_cannot_pause(run):
    class Stubborn:
        def pause_reading(self):
            raise NotImplementedError

    async def main():
        reader, writer, peer = await connect(limit=1)
        reader._transport = Stubborn()
        peer.sendall(b"data")
        await until(lambda: reader._transport is None)
        peer.sendall(b"more")
        await until(lambda: reader._buffer == b"datamore")
        assert not reader._paused
        await hang_up(writer, peer)

    run(main())
    assert run.reported == []


def test_an_error_of_pausing_ends_the_connection(run):
    class Broken:
        def pause_reading(self):
            raise ZeroDivisionError

    async def main():
        reader, writer, peer = await connect(limit=1)
        reader._transport = Broken()
        peer.sendall(b"data")
        with pytest.raises(ZeroDivisionError):
            await writer.wait_closed()
        assert not reader._paused
        peer.close()

    run(main())
    assert [type(report["exception"]) for report in run.reported] == [ZeroDivisionError]


def test_the_waiter_is_woken_in_the_connections_context(run):
    var = contextvars.ContextVar("var", default="none")

    class Waiter:
        result = None

        def cancelled(self):
            return False

        def set_result(self, result):
            self.result = (result, var.get(), reader._waiter, bytes(reader._buffer))

    reader = None

    async def main():
        nonlocal reader
        var.set("at creation")
        reader, writer, peer = await connect()
        var.set("later")
        waiter = reader._waiter = Waiter()
        peer.sendall(b"data")
        await until(lambda: waiter.result)
        assert waiter.result == (None, "at creation", None, b"data")
        await hang_up(writer, peer)

    run(main())


def test_a_waiter_that_is_done_is_an_error(run):
    async def main():
        reader, writer, peer = await connect()
        reader._waiter = asyncio.get_running_loop().create_future()
        reader._waiter.set_result(None)
        peer.sendall(b"data")
        with pytest.raises(asyncio.InvalidStateError):
            await writer.wait_closed()
        assert (reader._waiter, reader._buffer) == (None, b"data")
        peer.close()

    run(main())


# -- what is not the standard reader goes the standard way ------------------


def test_a_subclass_of_the_reader_is_fed_by_its_method(run):
    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            super().feed_data(data.upper())

    async def main():
        reader, writer, peer = await connect(reader_class=Reader)
        peer.sendall(b"data")
        assert await reader.readexactly(4) == b"DATA"
        await hang_up(writer, peer)

    run(main())


def test_a_subclass_of_the_protocol_receives(run):
    class Protocol(asyncio.StreamReaderProtocol):
        def data_received(self, data):
            super().data_received(data.upper())

    async def main():
        reader, writer, peer = await connect(protocol_class=Protocol)
        peer.sendall(b"data")
        assert await reader.readexactly(4) == b"DATA"
        await hang_up(writer, peer)

    run(main())


@pytest.mark.parametrize("early", [True, False], ids=["before data", "between data"])
@pytest.mark.parametrize("where", ["data_received", "feed_data", "_wakeup_waiter"])
def test_a_method_of_an_instance_is_called(run, where, early):
    async def main():
        reader, writer, peer = await connect()
        if not early:
            peer.sendall(b"-")
            await reader.readexactly(1)
        owner = writer.transport.get_protocol() if where == "data_received" else reader
        standard, calls = getattr(owner, where), []

        def replaced(*args):
            calls.append(args)
            standard(*args)

        setattr(owner, where, replaced)
        peer.sendall(b"data")
        await until(lambda: len(reader._buffer) == 4)
        assert calls == [() if where == "_wakeup_waiter" else (b"data",)]
        await hang_up(writer, peer)

    run(main())


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (asyncio.StreamReaderProtocol, "data_received"),
        (asyncio.StreamReader, "feed_data"),
        (asyncio.StreamReader, "_wakeup_waiter"),
    ],
)
def test_a_replaced_method_of_the_class_is_called(run, monkeypatch, owner, name):
    standard, calls = getattr(owner, name), []

    @functools.wraps(standard)
    def replaced(self, *args):
        calls.append(args)
        standard(self, *args)

    monkeypatch.setattr(owner, name, replaced)

    async def main():
        reader, writer, peer = await connect()
        peer.sendall(b"data")
        assert await reader.readexactly(4) == b"data"
        assert calls[0] == (() if name == "_wakeup_waiter" else (b"data",))
        await hang_up(writer, peer)

    run(main())


def test_a_buffer_of_another_class_is_extended_by_its_method(run):
    class Buffer(bytearray):
        def extend(self, data):
            super().extend(data.upper())

    async def main():
        reader, writer, peer = await connect()
        reader._buffer = Buffer()
        peer.sendall(b"data")
        assert await reader.readexactly(4) == b"DATA"
        await hang_up(writer, peer)

    run(main())


def test_a_new_protocol_takes_over(run):
    """As `loop.start_tls` does; and from a plain protocol to streams."""

    class Plain(asyncio.Protocol):
        data = b""

        def data_received(self, data):
            self.data += data

    async def main():
        reader, writer, peer = await connect()
        peer.sendall(b"one")
        assert await reader.readexactly(3) == b"one"
        plain, standard = Plain(), writer.transport.get_protocol()
        writer.transport.set_protocol(plain)
        peer.sendall(b"two")
        await until(lambda: plain.data == b"two")
        writer.transport.set_protocol(standard)
        peer.sendall(b"three")
        assert await reader.readexactly(5) == b"three"
        await hang_up(writer, peer)

    run(main())


def test_the_standard_reader_is_fed_without_python_code():
    called = set()

    def profile(frame, event, _):
        if event == "call":
            called.add(frame.f_code.co_name)

    async def main():
        reader, writer, peer = await connect()
        for _ in range(3):
            sys.setprofile(profile)
            try:
                task = asyncio.create_task(reader.readexactly(4))
                await until(lambda: reader._waiter is not None)
                peer.sendall(b"data")
                assert await task == b"data"
            finally:
                sys.setprofile(None)
        await hang_up(writer, peer)

    plait.run(main())
    assert "readexactly" in called
    assert not called & {"data_received", "feed_data", "_stream_reader", "_wakeup_waiter"}


# -- any sequence of events is as on asyncio's loop --------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 3000)),
        st.tuples(st.just("read"), st.integers(1, 3000)),
        st.tuples(st.just("readexactly"), st.integers(1, 3000)),
        st.tuples(st.just("readline"), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(1, 3000)),
    ),
    max_size=25,
)


class Watched:
    """The transport as the reader sees it: notes when it is paused."""

    def __init__(self, transport, reader, log):
        self.transport, self.reader, self.log = transport, reader, log

    def pause_reading(self):
        self.log.append(("pause", len(self.reader._buffer)))
        self.transport.pause_reading()

    def resume_reading(self):
        self.log.append(("resume", len(self.reader._buffer)))
        self.transport.resume_reading()


async def play(limit, steps):
    """Do the steps in turn; return what a user of the reader can see."""
    reader, writer, peer = await connect(limit=limit)
    log = []
    reader._transport = Watched(writer.transport, reader, log)
    text = b"".join(b"%d\n" % number for number in range(20_000))
    sent = taken = 0

    async def settle():
        await until(lambda: reader._paused or taken + len(reader._buffer) == sent)
        log.append((len(reader._buffer), reader._paused))

    for what, count in steps:
        if what == "send":
            peer.sendall(text[sent : sent + count])
            sent += count
        elif what == "cancel":
            task = asyncio.create_task(reader.readexactly(count))
            await asyncio.sleep(0)
            if not task.done():
                task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            log.append(done if isinstance(done, bytes) else type(done))
            taken += len(done) if isinstance(done, bytes) else 0
        else:
            task = asyncio.create_task(getattr(reader, what)(*([count] if count else [])))
            waiting = True
            while not task.done():
                await asyncio.sleep(0)
                if reader._waiter is not None and waiting and not reader._paused:
                    # It waits for more than there is: end its wait.
                    peer.sendall(text[sent : sent + 3000])
                    sent += 3000
            try:
                data = task.result()
            except ValueError as error:
                log.append(str(error))
                taken = sent - len(reader._buffer) if not reader._paused else taken
                break
            log.append((what, data))
            taken += len(data)
        await settle()
    peer.shutdown(socket.SHUT_WR)
    if not any(isinstance(entry, str) for entry in log):
        log.append(await reader.read(-1))
    peer.close()
    writer.close()
    await writer.wait_closed()
    return log


@settings(deadline=None, max_examples=60)
@given(limit=st.integers(1, 3000), steps=STEPS)
def test_any_sequence_is_as_on_asyncios_loop(limit, steps):
    ours, theirs = (Session(factory)(play(limit, steps)) for factory in FACTORIES.values())
    assert ours == theirs
