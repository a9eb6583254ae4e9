"""A task cancelled at an await of the stream API: it ends cancelled, the stream can be used on
where asyncio's can, and nothing stays behind."""

import asyncio
import contextlib
import socket

import pytest
from both_loops import compare, turns

PLENTY = 1 << 22


async def cancelled(record, what, awaitable, after=3):
    """Cancel a task of `awaitable` some turns after its begin; note how it ended."""
    task = asyncio.ensure_future(awaitable)
    await turns(after)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        record.note(what, "cancelled")
    else:
        record.note(what, "done")


async def pair():
    """Return a reader, a writer, and the non-blocking socket of the peer."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    return reader, writer, peer


async def close(writer, peer):
    writer.transport.abort()
    peer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


READS = {
    "read": lambda reader: reader.read(100),
    "read all": lambda reader: reader.read(),
    "readline": lambda reader: reader.readline(),
    "readexactly": lambda reader: reader.readexactly(10),
    "readuntil": lambda reader: reader.readuntil(b"\n"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("begun", [b"", b"abc"], ids=["nothing", "something"])
def test_a_read(read, begun):
    async def scenario(record):
        reader, writer, peer = await pair()
        if read in ("read", "read all"):
            await cancelled(record, read, READS[read](reader))
            peer.send(begun)
        else:
            peer.send(begun)
            await cancelled(record, read, READS[read](reader))
        peer.send(b"0123456789\n")
        # What had come stays in the reader.
        record.note("then", await reader.readline())
        await close(writer, peer)

    told = compare(scenario)
    assert told["notes"] == [(read, "cancelled"), ("then", begun + b"0123456789\n")]


def test_a_drain():
    async def scenario(record):
        loop = asyncio.get_running_loop()
        _, writer, peer = await pair()
        writer.write(bytes(PLENTY))
        await cancelled(record, "drain", writer.drain())
        drained = asyncio.ensure_future(writer.drain())
        left = PLENTY
        while left:
            left -= len(await loop.sock_recv(peer, 1 << 16))
        await drained
        await close(writer, peer)

    told = compare(scenario)
    assert told["notes"] == [("drain", "cancelled")]


def test_one_of_two_drains():
    async def scenario(record):
        loop = asyncio.get_running_loop()
        _, writer, peer = await pair()
        writer.write(bytes(PLENTY))
        other = asyncio.ensure_future(writer.drain())
        await cancelled(record, "drain", writer.drain())
        left = PLENTY
        while left:
            left -= len(await loop.sock_recv(peer, 1 << 16))
        await other
        await close(writer, peer)

    compare(scenario)


def test_wait_closed():
    async def scenario(record):
        _, writer, peer = await pair()
        writer.write(bytes(PLENTY))
        writer.close()
        await cancelled(record, "wait_closed", writer.wait_closed())
        writer.transport.abort()
        await turns()
        peer.close()

    compare(scenario)


@pytest.mark.parametrize("after", range(8))
def test_open_connection(after):
    """At whatever point: on the way, or just as the connection is there."""

    async def scenario(record):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            opening = asyncio.ensure_future(asyncio.open_connection(*listener.getsockname()))
            await turns(after)
            opening.cancel()
            [outcome] = await asyncio.gather(opening, return_exceptions=True)
            if isinstance(outcome, tuple):
                outcome[1].close()
                await outcome[1].wait_closed()
            await turns()

    compare(scenario)


@pytest.mark.parametrize("after", range(1, 8))
def test_open_connection_with_tls(after, contexts):
    async def scenario(record):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            opening = asyncio.ensure_future(
                asyncio.open_connection(*address, ssl=contexts[1], server_hostname="localhost")
            )
            await turns(after)
            opening.cancel()
            [outcome] = await asyncio.gather(opening, return_exceptions=True)
            record.note("outcome", outcome)
            await turns()

    told = compare(scenario)
    assert told["notes"] == [("outcome", "CancelledError")]


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_start_server(after):
    async def scenario(record):
        task = asyncio.ensure_future(asyncio.start_server(lambda r, w: None, "127.0.0.1", 0))
        await turns(after)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, asyncio.Server):
            outcome.close()
            await outcome.wait_closed()

    compare(scenario)


@pytest.mark.parametrize("after", range(1, 6))
def test_start_tls(after, contexts):
    async def scenario(record):
        _, writer, peer = await pair()
        await cancelled(
            record,
            "start_tls",
            writer.start_tls(contexts[1], server_hostname="localhost"),
            after,
        )
        await turns()
        record.note("closing", writer.is_closing())
        writer.transport.abort()
        peer.close()
        await turns()

    told = compare(scenario)
    assert ("start_tls", "cancelled") in told["notes"]


def test_a_server_closed_while_a_handler_waits():
    async def scenario(record):
        async def handler(reader, writer):
            try:
                await reader.read()
            except asyncio.CancelledError:
                record.note("handler cancelled")
                raise
            finally:
                writer.transport.abort()

        handlers = []

        def connected(reader, writer):
            handlers.append(asyncio.ensure_future(handler(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        while not handlers:
            await asyncio.sleep(0)
        await turns()
        handlers[0].cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        writer.transport.abort()
        server.close()
        await server.wait_closed()

    compare(scenario)


@pytest.mark.parametrize("after", range(6))
def test_open_unix_connection(after, tmp_path):
    async def scenario(record):
        path = str(tmp_path / f"socket-{id(record)}")
        server = await asyncio.start_unix_server(lambda r, w: w.close(), path)
        task = asyncio.ensure_future(asyncio.open_unix_connection(path))
        await turns(after)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(outcome, BaseException):
            outcome[1].close()
            await outcome[1].wait_closed()
        elif after == 0:
            record.note(outcome)
        server.close()
        await server.wait_closed()
        await turns()

    told = compare(scenario)
    assert told["notes"] == ([("CancelledError",)] if after == 0 else [])


# In between, asyncio's own code leaves the socket to the collector.
@pytest.mark.parametrize("after", [0, 3])
def test_start_unix_server(after, tmp_path):
    async def scenario(record):
        path = tmp_path / f"socket-{id(record)}"
        task = asyncio.ensure_future(asyncio.start_unix_server(lambda r, w: None, path))
        await turns(after)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        record.note(type(outcome).__name__)
        if isinstance(outcome, asyncio.Server):
            outcome.close()
            await outcome.wait_closed()
        # The place is free for the next.
        server = await asyncio.start_unix_server(lambda r, w: None, path)
        server.close()
        await server.wait_closed()

    compare(scenario)


def test_serve_forever():
    """A cancelled `serve_forever` closes the server; what is connected goes on."""

    async def scenario(record):
        served = asyncio.get_running_loop().create_future()

        async def echo(reader, writer):
            writer.write(await reader.readline())
            served.set_result(None)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        task = asyncio.ensure_future(server.serve_forever())
        reader, writer = await asyncio.open_connection(*address)
        await turns()
        record.note("serving", server.is_serving())
        writer.write(b"line\n")
        await served
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        record.note(outcome, server.is_serving(), len(server.sockets))
        record.note(await reader.read())
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()
        await server.wait_closed()

    told = compare(scenario)
    assert told["notes"] == [
        ("serving", True),
        ("CancelledError", False, 0),
        (b"line\n",),
    ]


def test_the_wait_for_a_server_to_close():
    async def scenario(record):
        end = asyncio.Event()
        begun = asyncio.Event()

        async def serve(reader, writer):
            begun.set()
            await end.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await begun.wait()
        # 3.11's does not wait for connections once the server is closed.
        await cancelled(record, "open", server.wait_closed())
        server.close()
        await cancelled(record, "closed", server.wait_closed())
        end.set()
        record.note(await reader.read())
        writer.close()
        await writer.wait_closed()
        # Another that waits is not hurt by the one that was cancelled.
        await server.wait_closed()
        record.note("closed")

    compare(scenario)


@pytest.mark.parametrize("begun", [b"", b"part", b"one\npart"])
def test_lines_of_a_reader(begun):
    async def scenario(record):
        reader, writer, peer = await pair()
        lines = []

        async def read():
            async for line in reader:
                # One by one: a list that is extended is not filled before its source ends.
                lines.append(line)  # noqa: PERF401

        peer.send(begun)
        await cancelled(record, "async for", read())
        record.note(*lines)
        # What had no end yet is still there.
        peer.send(b"ial\nlast")
        peer.shutdown(socket.SHUT_WR)
        record.note([line async for line in reader])
        await close(writer, peer)

    told = compare(scenario)
    assert told["notes"][0] == ("async for", "cancelled")
    *whole, part = begun.split(b"\n")
    assert told["notes"][1] == tuple(line + b"\n" for line in whole)
    assert told["notes"][2] == ([part + b"ial\n", b"last"],)
