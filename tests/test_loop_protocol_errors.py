"""An exception in each method of a protocol: the outcome is that of asyncio's own loop."""

import asyncio
import socket

import pytest
from both_loops import Leaks, Record, compare, noting, turns

import plait

# Far more than the socket's buffers, so that the protocol is paused and resumed.
ANSWER = 1 << 20

COMMON = ("connection_made", "eof_received", "pause_writing", "resume_writing", "connection_lost")
METHODS = {
    asyncio.Protocol: (*COMMON, "data_received"),
    asyncio.BufferedProtocol: (*COMMON, "get_buffer", "buffer_updated"),
}
PAIRS = [
    pytest.param(base, method, id=f"{base.__name__}-{method}")
    for base, methods in METHODS.items()
    for method in methods
]


def peer(address, tls):
    """Speak, read the answer, end the own side; return how it went."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.settimeout(20)
        sock.connect(address)
        try:
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname="localhost")
            sock.sendall(b"hello")
            received = 0
            while received < ANSWER and (data := sock.recv(1 << 16)):
                received += len(data)
            if received < ANSWER:
                return "cut short"
            if tls is not None:
                sock.unwrap().close()
            else:
                sock.shutdown(socket.SHUT_WR)
                sock.recv(1)
        except OSError:
            return "cut short"
        finally:
            sock.close()
    return "whole"


async def conversation(record, base, hooks, contexts=(None, None)):
    """Serve one peer with a protocol that calls `hooks`; note everything."""
    loop = asyncio.get_running_loop()
    made = []

    class Answering(noting(record, base, hooks)):
        def __init__(self):
            super().__init__()
            made.append(self)

        def connection_made(self, transport):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            super().connection_made(transport)

        def _data(self, method, count):
            first = not self.received
            try:
                super()._data(method, count)
            finally:
                if first:
                    self._answer()

        def _answer(self):
            # In two parts: TLS pauses its user only when its own transport is.
            try:
                self.transport.write(bytes(ANSWER // 2))
            finally:
                self.transport.write(bytes(ANSWER // 2))

    server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=contexts[0])
    address = server.sockets[0].getsockname()
    seen = await asyncio.to_thread(peer, address, contexts[1])
    [protocol] = made
    if protocol.made.done():
        await protocol.ended
        record.note("closing", protocol.transport.is_closing())
    await turns()
    record.note("peer", seen)
    server.close()
    await server.wait_closed()


def raising(error):
    def hook(protocol):
        # A new one each time: its traceback would keep the protocol alive.
        raise error("planted")

    return hook


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("base", METHODS)
def test_without_an_error(base, tls, contexts):
    """The conversation calls every method, or the tests below would show nothing."""
    told = compare(conversation, base, {}, contexts if tls else (None, None))
    called = {note[0] for note in told["notes"]}
    assert set(METHODS[base]) <= called
    assert ("peer", "whole") in told["notes"]
    assert told["reported"] == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("base", "method"), PAIRS)
@pytest.mark.parametrize(
    "error", [ZeroDivisionError, asyncio.CancelledError, ConnectionResetError, GeneratorExit]
)
def test_an_error(base, method, error, tls, contexts):
    hooks = {method: raising(error)}
    told = compare(conversation, base, hooks, contexts if tls else (None, None))
    assert any(note[0] == method for note in told["notes"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(("base", "method"), PAIRS)
def test_an_error_that_ends_the_run(base, method, error):
    """It comes out of `run_forever`; the connection goes on when the loop does."""
    theirs = interrupted(asyncio.SelectorEventLoop, base, method, error)
    # asyncio still watches for room to write then, and reports that nothing is there to
    # be written until something is: once each turn.
    theirs = [each for each in theirs if each != ("Exception in callback", "AssertionError")]
    ours = interrupted(plait.new_event_loop, base, method, error)
    assert ours == theirs
    assert ("came out", error.__name__) in theirs


def interrupted(factory, base, method, error):
    record = Record()
    with Leaks():
        loop = factory()
        loop.set_exception_handler(record.report)
        planted = [error]

        def hook(protocol):
            # The first call only: the peer's last bytes may come in two parts.
            if planted:
                record.note("closing before", protocol.transport.is_closing())
                raise planted.pop()("planted")

        task = loop.create_task(conversation(record, base, {method: hook}))
        task.add_done_callback(lambda _: loop.stop())
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit) as caught:
            record.note("came out", caught)
            loop.run_forever()
        task.result()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return record.notes + record.reported


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
@pytest.mark.parametrize("method", ["data_received", "connection_lost", "pause_writing"])
def test_an_error_in_the_exception_handler(method, error):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        failed = []

        def handler(loop, context):
            if not failed:
                failed.append(True)
                raise error("of the handler")
            record.report(loop, context)

        loop.set_exception_handler(handler)
        await conversation(record, asyncio.Protocol, {method: raising(ZeroDivisionError)})

    told = compare(scenario)
    assert any("Unhandled error in exception handler" in m for m, _ in told["reported"]) or any(
        "Unhandled error in exception handler" in line for line in told["logged"]
    )
