"""What a `SubprocessProtocol` raises: reported as by asyncio's own loop, and the rest goes on."""

import asyncio
import sys

import pytest
from both_loops import compare, turns

METHODS = (
    "connection_made",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
    "connection_lost",
)
PROGRAM = "import os, sys; sys.stdin.read(); os.write(1, b'out')"


def raising(record, method, error):
    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self):
            loop = asyncio.get_running_loop()
            self.pipes = []
            self.ended = loop.create_future()

        def told(self, name, *args):
            # The pipes end in any order.
            if name == "pipe_connection_lost":
                self.pipes.append(args)
            else:
                record.note(name, *args)
            if name == method:
                raise error

        def connection_made(self, transport):
            self.told("connection_made")

        def pipe_data_received(self, fd, data):
            self.told("pipe_data_received", fd, data)

        def pipe_connection_lost(self, fd, error):
            self.told("pipe_connection_lost", fd, error)

        def process_exited(self):
            self.told("process_exited")

        def connection_lost(self, error):
            self.ended.set_result(None)
            self.told("connection_lost", error)

    return Protocol


@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
@pytest.mark.parametrize("method", METHODS)
def test_a_protocol_that_raises(method, error):
    async def scenario(record):
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            raising(record, method, error), sys.executable, "-S", "-c", PROGRAM, stderr=None
        )
        transport.get_pipe_transport(0).close()
        await protocol.ended
        await turns()
        record.note(*sorted(fd for fd, _ in protocol.pipes))
        record.note(transport.get_returncode(), transport.is_closing())
        transport.close()

    told = compare(scenario)
    assert (0, 1) in told["notes"]
    assert ("connection_lost", None) in told["notes"]
    if error is LookupError:
        times = 2 if method == "pipe_connection_lost" else 1
        assert told["reported"] == [("Exception in callback", "LookupError")] * times


def test_one_that_closes_the_transport_and_raises():
    async def scenario(record):
        loop = asyncio.get_running_loop()
        closing = []

        class Protocol(raising(record, "pipe_data_received", LookupError)):
            def connection_made(self, transport):
                closing.append(transport)
                super().connection_made(transport)

            def pipe_data_received(self, fd, data):
                closing[0].close()
                super().pipe_data_received(fd, data)

        program = "import os, time; os.write(1, b'out'); time.sleep(1000)"
        transport, protocol = await loop.subprocess_exec(
            Protocol, sys.executable, "-S", "-c", program, stderr=None
        )
        await protocol.ended
        await turns()
        record.note(transport.get_returncode())
        closing.clear()

    assert compare(scenario)["notes"][-1] == (-9,)
