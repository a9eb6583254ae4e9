"""Pipe transports, on plait's loop and, as the model, on asyncio's."""

import asyncio
import contextlib
import gc
import logging
import os
import pty
import socket
import tempfile
import termios
import warnings
import weakref

import pytest

import plait


class Recorder(asyncio.Protocol):
    """Keeps what it is told; `ended` is set with `connection_lost`'s argument."""

    def __init__(self):
        self.calls = []
        self.data = b""
        self.ended = asyncio.get_running_loop().create_future()
        self.wakened = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data):
        self.calls.append("data")
        self.data += data
        self.wakened.set()

    def eof_received(self):
        self.calls.append("eof")
        return True

    def pause_writing(self):
        self.calls.append("pause")
        self.wakened.set()

    def resume_writing(self):
        self.calls.append("resume")
        self.wakened.set()

    def connection_lost(self, error):
        self.calls.append("lost")
        self.ended.set_result(error)

    async def wait_data(self, size):
        while len(self.data) < size:
            self.wakened.clear()
            await self.wakened.wait()


@contextlib.asynccontextmanager
async def reading(factory=Recorder):
    """Give a reading transport, its protocol, and the (blocking) writing end."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_read_pipe(factory, os.fdopen(ours, "rb", 0))
    with os.fdopen(theirs, "wb", 0) as writer:
        yield transport, protocol, writer
        if not transport.is_closing():
            transport.close()
        await protocol.ended


@contextlib.asynccontextmanager
async def writing(factory=Recorder):
    """Give a writing transport, its protocol, and the (blocking) reading end."""
    theirs, ours = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(factory, os.fdopen(ours, "wb", 0))
    with os.fdopen(theirs, "rb", 0) as reader:
        yield transport, protocol, reader
        if not protocol.ended.done():
            transport.abort()
        await protocol.ended


def read_all(reader):
    return asyncio.get_running_loop().run_in_executor(None, reader.read)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.needs_mended_model
def test_life_of_a_reader(run):
    async def main():
        async with reading() as (transport, protocol, theirs):
            assert transport.get_protocol() is protocol
            assert transport.get_extra_info("pipe").fileno() >= 0
            assert transport.get_extra_info("peername", 5) == 5
            assert transport.is_reading()
            assert not transport.is_closing()
            theirs.write(b"abc")
            await protocol.wait_data(3)
            theirs.close()
            assert await protocol.ended is None
            # The pipe ends whatever eof_received() answers.
            assert protocol.calls == ["made", "data", "eof", "lost"]
            assert transport.is_closing()
            assert not transport.is_reading()
            assert "closed" in repr(transport)
        assert transport.get_extra_info("pipe").closed

    run(main())
    assert run.reported == []


def test_many_bytes_arrive_in_order(run):
    async def main():
        async with reading() as (_, protocol, theirs), writing() as (out, _, reader):
            data = os.urandom(3_000_000)
            loop = asyncio.get_running_loop()

            def feed():
                view = memoryview(data)
                while view:
                    view = view[theirs.write(view) :]

            feeding = loop.run_in_executor(None, feed)
            await protocol.wait_data(len(data))
            await feeding
            assert protocol.data == data

            out.write(data[:10])
            out.writelines([data[10:20], bytearray(data[20:1000]), memoryview(data)[1000:], b""])
            assert out.get_write_buffer_size() > 0
            out.write_eof()
            assert out.is_closing()
            assert await read_all(reader) == data

    run(main())
    assert run.reported == []


@pytest.mark.needs_mended_model
def test_pause_and_resume_reading(run):
    async def main():
        async with reading() as (transport, protocol, theirs):
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            theirs.write(b"abc")
            await turns()
            assert protocol.data == b""
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            await protocol.wait_data(3)
            transport.close()
            transport.resume_reading()
            await protocol.ended
            transport.close()
            transport.pause_reading()

    run(main())


@pytest.mark.needs_mended_model
def test_paused_in_connection_made(run):
    class Paused(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async def main():
        async with reading(Paused) as (transport, protocol, theirs):
            theirs.write(b"abc")
            await turns()
            assert protocol.data == b""
            transport.resume_reading()
            await protocol.wait_data(3)

    run(main())


def test_what_a_protocol_raises_is_reported_and_the_pipe_goes_on(run):
    class Raising(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"bad":
                raise ZeroDivisionError

        def eof_received(self):
            super().eof_received()
            raise KeyError

    async def main():
        async with reading(Raising) as (transport, protocol, theirs):
            theirs.write(b"bad")
            await protocol.wait_data(3)
            await turns()
            assert not transport.is_closing()
            theirs.write(b"good")
            await protocol.wait_data(7)
            theirs.close()
            assert await protocol.ended is None

    run(main())
    assert [type(c["exception"]) for c in run.reported] == [ZeroDivisionError, KeyError]


def test_what_connection_lost_raises_leaves_the_pipe_closed(run):
    class Raising(Recorder):
        def connection_lost(self, error):
            super().connection_lost(error)
            raise ZeroDivisionError

    async def main():
        async with reading(Raising) as (transport, _, _):
            pass
        await turns()
        assert transport.get_extra_info("pipe").closed

    run(main())
    assert [type(c["exception"]) for c in run.reported] == [ZeroDivisionError]


def test_set_protocol(run):
    async def main():
        async with reading() as (transport, first, theirs):
            theirs.write(b"1")
            await first.wait_data(1)
            second = Recorder()
            transport.set_protocol(second)
            assert transport.get_protocol() is second
            theirs.write(b"2")
            await second.wait_data(1)
            theirs.close()
            assert await second.ended is None
            assert first.data == b"1"
            assert not first.ended.done()
            first.ended.set_result(None)

    run(main())


def test_buffered_protocol():
    """As on a connection; asyncio's own pipes do not know these protocols."""

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer, self.data = bytearray(4), b""
            self.ended = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, count):
            self.data += self.buffer[:count]

        def connection_lost(self, error):
            self.ended.set_result(error)

    async def main():
        async with reading(Buffered) as (_, protocol, theirs):
            theirs.write(b"0123456789")
            theirs.close()
            assert await asyncio.wait_for(protocol.ended, 30) is None
            assert protocol.data == b"0123456789"

    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        runner.run(main())


def test_flow_control(run):
    async def main():
        async with writing() as (transport, protocol, reader):
            assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
            transport.set_write_buffer_limits(high=1000, low=100)
            assert transport.get_write_buffer_limits() == (100, 1000)
            with pytest.raises(ValueError, match="must be >="):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.write(bytes(1_000_000))
            assert protocol.calls == ["made", "pause"]
            assert transport.get_write_buffer_size() > 1000
            protocol.wakened.clear()
            left = 1_000_000
            os.set_blocking(reader.fileno(), False)
            while not protocol.wakened.is_set():
                left -= len(reader.read(65536) or b"")
                await asyncio.sleep(0)
            os.set_blocking(reader.fileno(), True)
            assert protocol.calls == ["made", "pause", "resume"]
            transport.close()
            left -= len(await read_all(reader))
            assert left == 0
            assert await protocol.ended is None

    run(main())


def test_close_writes_what_waits(run):
    async def main():
        async with writing() as (transport, protocol, reader):
            assert transport.can_write_eof()
            transport.write(b"x" * 300_000)
            transport.close()
            transport.write(b"too late")
            assert await read_all(reader) == b"x" * 300_000
            assert await protocol.ended is None
            assert transport.get_extra_info("pipe").closed

    run(main())


def test_abort_drops_what_waits(run):
    async def main():
        async with writing() as (transport, protocol, reader):
            transport.write(b"x" * 1_000_000)
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            assert await protocol.ended is None
            assert len(await read_all(reader)) < 1_000_000

    run(main())


def test_the_end_of_the_reader_is_noticed_without_a_write(run):
    async def main():
        async with writing() as (transport, protocol, reader):
            reader.close()
            assert await protocol.ended is None
            assert transport.is_closing()

    run(main())
    assert run.reported == []


def test_the_end_of_the_reader_with_bytes_unsent(run):
    async def main():
        async with writing() as (transport, protocol, reader):
            transport.write(bytes(1_000_000))
            transport.close()
            reader.close()
            assert isinstance(await protocol.ended, BrokenPipeError)
            assert transport.get_write_buffer_size() == 0

    run(main())
    assert run.reported == []


def test_writes_to_nobody(run, caplog):
    async def main():
        async with writing() as (transport, protocol, reader):
            reader.close()
            for _ in range(10):
                transport.write(b"x")
            transport.writelines([b"x", b"y"])
            assert isinstance(await protocol.ended, BrokenPipeError)

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert run.reported == []
    assert {r.getMessage() for r in caplog.records} == {
        "pipe closed by peer or os.write(pipe, data) raised exception."
    }


def test_only_bytes_can_be_written():
    async def main():
        async with writing() as (transport, _, _):
            for wrong in ("text", None, [b"x"]):
                with pytest.raises(TypeError, match="data argument must be"):
                    transport.write(wrong)
            with pytest.raises(TypeError):
                transport.writelines([b"x", "text"])

    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        runner.run(main())


def test_sockets(run):
    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        reader, got = await loop.connect_read_pipe(Recorder, ours)
        peer.send(b"in")
        await got.wait_data(2)
        peer.close()
        assert await got.ended is None
        assert reader.is_closing()

        ours, peer = socket.socketpair()
        writer, given = await loop.connect_write_pipe(Recorder, ours)
        writer.write(b"out")
        assert peer.recv(10) == b"out"
        peer.close()
        assert await given.ended is None
        assert writer.is_closing()

    run(main())


def test_both_directions_of_a_terminal_by_one_number(run):
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = pty.openpty()
        mode = termios.tcgetattr(theirs)
        mode[1] &= ~termios.OPOST
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(theirs, termios.TCSANOW, mode)
        file = os.fdopen(theirs, "r+b", 0)
        reader, got = await loop.connect_read_pipe(Recorder, file)
        writer, given = await loop.connect_write_pipe(Recorder, file)
        os.write(ours, b"in")
        await got.wait_data(2)
        # Input of a terminal is no sign that nobody reads what is written.
        assert not writer.is_closing()
        writer.write(b"out")
        assert os.read(ours, 10) == b"out"
        writer.close()
        reader.close()
        await got.ended
        await given.ended
        os.close(ours)

    run(main())
    assert run.reported == []


def test_a_terminal_that_hangs_up_is_an_end_not_an_accident(run):
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = pty.openpty()
        _, protocol = await loop.connect_read_pipe(Recorder, os.fdopen(ours, "rb", 0))
        os.close(theirs)
        assert isinstance(await protocol.ended, OSError)

    run(main())
    assert run.reported == []


@pytest.mark.parametrize("call", ["connect_read_pipe", "connect_write_pipe"])
def test_regular_files_are_refused(run, call):
    async def main():
        with tempfile.TemporaryFile() as file:
            with pytest.raises(ValueError, match="Pipe transport is"):
                await getattr(asyncio.get_running_loop(), call)(Recorder, file)
            assert not file.closed

    run(main())


def test_devices_that_epoll_refuses(run):
    async def main():
        loop = asyncio.get_running_loop()
        null = os.fdopen(os.open("/dev/null", os.O_RDWR), "r+b", 0)
        with null, os.fdopen(os.dup(null.fileno()), "wb", 0) as sink:
            writer, given = await loop.connect_write_pipe(Recorder, sink)
            writer.write(b"gone")
            writer.close()
            assert await given.ended is None
            assert run.reported == []
            reader, got = await loop.connect_read_pipe(Recorder, null)
            reader.close()
            await got.ended

    run(main())
    assert [type(c["exception"]) for c in run.reported] == [PermissionError]


def test_the_pipe_does_not_block_and_is_not_watched_after_the_end(run):
    async def main():
        loop = asyncio.get_running_loop()
        async with reading() as (transport, protocol, _):
            number = transport.get_extra_info("pipe").fileno()
            assert os.get_blocking(number) is False
            transport.close()
            await protocol.ended
            ours, theirs = os.pipe()
            heard = loop.create_future()
            loop.add_reader(ours, heard.set_result, None)
            os.write(theirs, b"x")
            await heard
            loop.remove_reader(ours)
            os.close(ours)
            os.close(theirs)

    run(main())


def test_cancelled_connect_closes_the_pipe(run):
    async def main():
        ours, theirs = os.pipe()
        file = os.fdopen(ours, "rb", 0)
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.connect_read_pipe(Recorder, file))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()
        assert file.closed
        os.close(theirs)

    run(main())


def test_streams_over_pipes(run):
    async def main():
        loop = asyncio.get_running_loop()
        r, w = os.pipe()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(r, "rb", 0)
        )
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(), os.fdopen(w, "wb", 0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        writer.write(b"line\n")
        await writer.drain()
        assert await reader.readline() == b"line\n"
        writer.close()
        assert await reader.read() == b""

    run(main())


def test_pause_from_within_connection_made(run):
    class Eager(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(bytes(1_000_000))

    async def main():
        async with writing(Eager) as (transport, protocol, reader):
            transport.close()
            assert len(await read_all(reader)) == 1_000_000
        assert protocol.calls == ["made", "pause", "resume", "lost"]

    run(main())
    assert not run.reported


def test_repr():
    async def main():
        async with reading() as (reader, _, _), writing() as (writer, _, _):
            number = reader.get_extra_info("pipe").fileno()
            assert repr(reader) == f"<ReadPipeTransport open fd={number} polling>"
            assert isinstance(reader, asyncio.ReadTransport)
            assert isinstance(writer, asyncio.WriteTransport)
            assert isinstance(writer, asyncio.Transport)
            for method in (writer.pause_reading, writer.resume_reading, writer.is_reading):
                with pytest.raises(NotImplementedError):
                    method()
            assert not isinstance(reader, asyncio.WriteTransport)
            reader.pause_reading()
            assert repr(reader) == f"<ReadPipeTransport open fd={number} idle>"
            number = writer.get_extra_info("pipe").fileno()
            assert repr(writer) == f"<WritePipeTransport open fd={number} idle bufsize=0>"
            writer.write(bytes(1_000_000))
            writer.close()
            assert repr(writer).startswith(f"<WritePipeTransport closing fd={number} polling")
        assert "closed" in repr(writer)

    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        runner.run(main())


def test_debug_mode_says_what_happens(run, caplog):
    async def main():
        asyncio.get_running_loop().set_debug(True)
        async with reading() as (transport, protocol, theirs):
            transport.pause_reading()
            transport.resume_reading()
            theirs.close()
            await protocol.ended

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())
    text = " ".join(record.getMessage() for record in caplog.records)
    for said in ("connected", "pauses reading", "resumes reading", "was closed by peer"):
        assert said in text


def test_the_contexts_of_callbacks(run):
    import contextvars

    var = contextvars.ContextVar("var", default="none")
    seen = []

    class Context(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(var.get())

        def data_received(self, data):
            seen.append(var.get())
            super().data_received(data)

    async def main():
        var.set("mine")
        async with reading(Context) as (_, protocol, theirs):
            var.set("later")
            theirs.write(b"x")
            await protocol.wait_data(1)

    run(main())
    assert seen == ["mine", "mine"]


def test_system_exit_passes_and_the_end_is_still_told():
    class Exiting(Recorder):
        def eof_received(self):
            super().eof_received()
            raise SystemExit(5)

    loop = plait.new_event_loop()

    async def start():
        ours, theirs = os.pipe()
        _, protocol = await loop.connect_read_pipe(Exiting, os.fdopen(ours, "rb", 0))
        return protocol, theirs

    async def end(protocol):
        return await protocol.ended

    protocol, theirs = loop.run_until_complete(start())
    os.close(theirs)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert loop.run_until_complete(asyncio.wait_for(end(protocol), 30)) is None
    assert protocol.calls == ["made", "eof", "lost"]
    loop.close()


def test_no_cycle_stays():
    """A closed loop, a transport and a protocol that hold each other are freed."""

    class Holder(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

    def use():
        loop = plait.new_event_loop()

        async def main():
            r, w = os.pipe()
            reader, writer = os.fdopen(r, "rb", 0), os.fdopen(w, "wb", 0)
            one, held = await loop.connect_read_pipe(Holder, reader)
            two, _ = await loop.connect_write_pipe(Holder, writer)
            two.write(bytes(1_000_000))
            two.me = two
            one.me = one
            return reader, writer, weakref.ref(one), weakref.ref(two), weakref.ref(held)

        reader, writer, *refs = loop.run_until_complete(main())
        loop.close()
        assert " fd=" in repr(refs[0]())
        assert " fd=" in repr(refs[1]())
        reader.close()
        writer.close()
        return refs

    refs = use()
    with warnings.catch_warnings(record=True):
        # They were not closed.
        warnings.simplefilter("always")
        gc.collect()
    assert [ref() for ref in refs] == [None, None, None]
