"""Debug mode tells of protocols that hold the loop up, on plait's loop as on asyncio's."""

import asyncio
import gc
import logging
import re
import socket
import sys
import time

import pytest

import plait


class Slow(asyncio.Protocol):
    """Takes its time in one of its methods."""

    def __init__(self, method):
        self.lost = asyncio.get_running_loop().create_future()
        self.method = method

    def take(self, method):
        if method == self.method:
            time.sleep(0.02)

    def connection_made(self, transport):
        self.transport = transport
        self.take("connection_made")

    def data_received(self, data):
        self.take("data_received")
        self.transport.close()

    def connection_lost(self, error):
        self.take("connection_lost")
        self.lost.set_result(None)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("method", ["connection_made", "data_received", "connection_lost"])
def test_a_slow_protocol_is_reported(loop, caplog, method, debug):
    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            _, protocol = await loop.connect_accepted_socket(lambda: Slow(method), ours)
            theirs.send(b"x")
            await protocol.lost
            await asyncio.sleep(0)

    loop.set_debug(debug)
    loop.slow_callback_duration = 0.02
    loop.run_until_complete(main())
    # asyncio's transports are told of by the callback, plait's by what they are.
    whose = "callbacks of <SocketTransport " if isinstance(loop, plait.EventLoop) else ".*"
    slow = re.compile(rf"Executing {whose}.* took 0\.\d+ seconds")
    assert any(slow.fullmatch(line) for line in caplog.messages) == debug, caplog.messages


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_connection_is_logged(loop, caplog, debug):
    """That it has come, and that its peer has no more to say."""
    caplog.set_level(logging.DEBUG, "asyncio")
    made = []

    def factory():
        made.append(Slow(None))
        return made[-1]

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server:
            sock = socket.create_connection(server.sockets[0].getsockname())
            with sock:
                peer = sock.getsockname()
                sock.shutdown(socket.SHUT_WR)
                while not made:
                    await asyncio.sleep(0)
                await made[0].lost
            return peer

    loop.set_debug(debug)
    peer = loop.run_until_complete(main())
    # As they were then: `caplog.messages` would show the sockets and transports of now.
    lines = [record.message for record in caplog.records]
    came = [line for line in lines if " got a new connection from " in line]
    ended = [line for line in lines if line.endswith(" received EOF")]
    if not debug:
        assert came == ended == []
        return
    [came], [ended] = came, ended
    assert re.fullmatch(
        rf"<Server sockets=.*> got a new connection from {re.escape(repr(peer))}: "
        rf"<socket.socket fd=\d+, .*raddr={re.escape(repr(peer))}>",
        came,
    )
    assert re.fullmatch(r"<\w*SocketTransport fd=\d+ read=polling write=<.*>> received EOF", ended)


async def forgotten():
    pass


def warned(what):
    """Return what is said of a coroutine that `what` makes and nobody awaits."""
    with pytest.warns(RuntimeWarning, match="coroutine 'forgotten' was never awaited") as caught:
        what()
        gc.collect()
    (warning,) = caught
    return str(warning.message)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_coroutine_that_nobody_awaits(loop, debug):
    async def main():
        return warned(forgotten)

    loop.set_debug(debug)
    text = loop.run_until_complete(main())
    assert ("Coroutine created at" in text) == debug
    assert (f'File "{__file__}"' in text) == debug
    # Outside of a run nobody has asked for it.
    assert "Coroutine created at" not in warned(forgotten)


def test_debug_mode_may_begin_and_end_while_the_loop_runs(loop):
    async def main():
        said = []
        for debug in (True, False, True):
            loop.set_debug(debug)
            # It holds from the next turn on.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert loop.get_debug() is debug
            assert (sys.get_coroutine_origin_tracking_depth() > 0) == debug
            said.append("Coroutine created at" in warned(forgotten))
        return said

    assert loop.run_until_complete(main()) == [True, False, True]
    # The mode is the loop's still, and what it asked of the interpreter is not.
    assert loop.get_debug() is True
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_a_depth_that_a_program_has_set_is_put_back(loop):
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(3)
    try:
        loop.set_debug(True)
        loop.run_until_complete(asyncio.sleep(0))
        assert sys.get_coroutine_origin_tracking_depth() == 3
    finally:
        sys.set_coroutine_origin_tracking_depth(before)
