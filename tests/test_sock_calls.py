"""The loop's `sock_*` calls, on plait's loop and, as the model, on asyncio's."""

import array
import asyncio
import contextlib
import gc
import os
import socket
import ssl
import subprocess
import sys
import time
import weakref

import pytest

import plait


def test_stream(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        data = os.urandom(3_000_000)
        sender = asyncio.create_task(loop.sock_sendall(a, data))
        received = bytearray()
        while len(received) < 1_000_000:
            received += await loop.sock_recv(b, 65536)
        buffer = bytearray(65536)
        while len(received) < len(data):
            count = await loop.sock_recv_into(b, buffer)
            received += buffer[:count]
        await sender
        assert received == data
        a.close()
        assert await loop.sock_recv(b, 10) == b""

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_sendall_takes_any_buffer(run, pair, kind):
    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(pair[0], kind(b"abcd"))
        assert await loop.sock_recv(pair[1], 10) == b"abcd"

    run(main())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(8),
        lambda: memoryview(bytearray(16))[4:12],
        lambda: array.array("b", bytes(8)),
        lambda: array.array("H", bytes(8)),
    ],
    ids=["bytearray", "memoryview", "array of bytes", "array of shorts"],
)
def test_recv_into_any_buffer(run, pair, make, waits):
    async def main():
        loop = asyncio.get_running_loop()
        buffer = make()
        if waits:
            receiving = asyncio.create_task(loop.sock_recv_into(pair[1], buffer))
            await asyncio.sleep(0)
        pair[0].send(b"abcd")
        count = await (receiving if waits else loop.sock_recv_into(pair[1], buffer))
        assert count == 4
        assert bytes(buffer)[:4] == b"abcd"
        pair[0].close()
        assert await loop.sock_recv_into(pair[1], buffer) == 0

    run(main())


def test_recv_into_what_cannot_take(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        pair[0].send(b"abcd")
        apart = memoryview(bytearray(8))[::2]
        for buffer in (b"xxxx", memoryview(b"xxxx"), apart, "xxxx", None):
            with pytest.raises((TypeError, BufferError)):
                await loop.sock_recv_into(pair[1], buffer)
        assert await loop.sock_recv_into(pair[1], bytearray()) == 0
        assert await loop.sock_recv(pair[1], 10) == b"abcd"

    run(main())


def test_sendall_counts_bytes_not_items(pair):
    """asyncio waits for ever here: it counts the items of the view."""

    async def main():
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(pair[0], memoryview(b"abcd").cast("H"))
        assert await loop.sock_recv(pair[1], 10) == b"abcd"

    plait.run(main())


def test_accept_and_connect(run):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.socket() as listener, socket.socket() as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
            connection, address = await accepting
            with connection:
                assert connection.gettimeout() == 0
                assert address == client.getsockname()

    run(main())


def test_refused(run):
    async def main():
        with socket.socket() as unused, socket.socket() as client:
            unused.bind(("127.0.0.1", 0))
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_connect(client, unused.getsockname())

    run(main())


@pytest.mark.parametrize("by", ["socket", "pair", "connection", "eyeballs"])
def test_errors_name_the_address_that_was_tried(run, by):
    """One of version 6 has a scope, also where none was given."""

    async def main():
        loop = asyncio.get_running_loop()
        with (
            socket.socket(socket.AF_INET6) as unused,
            socket.socket(socket.AF_INET6) as client,
        ):
            unused.bind(("::1", 0))
            client.setblocking(False)
            address = unused.getsockname()
            if by == "connection":
                connecting = loop.create_connection(asyncio.Protocol, *address[:2])
            elif by == "eyeballs":
                connecting = loop.create_connection(
                    asyncio.Protocol, *address[:2], happy_eyeballs_delay=1
                )
            else:
                connecting = loop.sock_connect(client, address[:2] if by == "pair" else address)
            with pytest.raises(ConnectionRefusedError) as caught:
                await connecting
        assert str(address) in str(caught.value)

    run(main())


def test_datagrams(run):
    async def main():
        loop = asyncio.get_running_loop()
        with (
            socket.socket(type=socket.SOCK_DGRAM) as a,
            socket.socket(type=socket.SOCK_DGRAM) as b,
        ):
            for sock in (a, b):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recvfrom(b, 100))
            assert await loop.sock_sendto(a, b"one", b.getsockname()) == 3
            assert await receiving == (b"one", a.getsockname())
            buffer = bytearray(10)
            await loop.sock_sendto(a, b"two", b.getsockname())
            assert await loop.sock_recvfrom_into(b, buffer) == (3, a.getsockname())
            assert buffer[:3] == b"two"

    run(main())


def test_cancelled_wait_takes_nothing(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(b, 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not loop.remove_reader(b)
        a.send(b"kept")
        assert await loop.sock_recv(b, 10) == b"kept"

    run(main())


def test_blocking_sockets_are_refused_in_debug_mode(run, pair):
    a, _ = pair
    a.setblocking(True)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        for call in (
            loop.sock_recv(a, 1),
            loop.sock_sendall(a, b"x"),
            loop.sock_accept(a),
            loop.sock_connect(a, ""),
        ):
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await call

    run(main())


def test_tls_sockets_are_refused(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context()
        with (
            context.wrap_socket(
                pair[0], server_hostname="x", do_handshake_on_connect=False
            ) as wrapped,
            pytest.raises(TypeError, match="SSLSocket"),
        ):
            await loop.sock_recv(wrapped, 1)

    run(main())


def test_they_are_coroutines(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        assert asyncio.iscoroutinefunction(loop.sock_recv)
        coroutine = loop.sock_recv(pair[0], 1)
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()

    run(main())


@pytest.mark.parametrize("size", [1, 262_144, 262_145, 5_000_000])
def test_any_size_can_be_asked_for(run, pair, size):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(loop.sock_recv(b, size))
        await asyncio.sleep(0)
        a.send(b"data")
        assert await waiting == b"data"[:size]

    run(main())


def test_nothing_and_less_can_be_asked_for(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        pair[0].send(b"data")
        assert await loop.sock_recv(pair[1], 0) == b""
        with pytest.raises(ValueError, match="negative"):
            await loop.sock_recv(pair[1], -1)
        with pytest.raises(TypeError):
            await loop.sock_recv(pair[1], "4")
        assert await loop.sock_recv(pair[1], True) == b"d"
        assert await loop.sock_sendall(pair[0], b"") is None
        with pytest.raises(TypeError):
            await loop.sock_sendall(pair[0], "text")

    run(main())


def test_errors_of_the_socket(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(loop.sock_recv(a, 1))
        await asyncio.sleep(0)
        a.send(b"unread")
        # The other end goes with something unread: a reset.
        b.close()
        with pytest.raises(ConnectionResetError):
            await waiting
        with pytest.raises(BrokenPipeError):
            await loop.sock_sendall(a, b"x")
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_recv(b, 1)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_sendall(b, b"x")

    run(main())


def test_both_directions_of_one_socket(run, pair):
    """A future for each direction at a time, in the order that the kernel likes."""
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        data = os.urandom(2_000_000)

        async def receive(sock):
            received = bytearray()
            while len(received) < len(data):
                received += await loop.sock_recv(sock, 100_000)
            return received

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(receive(sock)) for sock in pair]
            for sock in pair:
                group.create_task(loop.sock_sendall(sock, data))
        assert [task.result() == data for task in tasks] == [True, True]
        assert not any(loop.remove_reader(sock) or loop.remove_writer(sock) for sock in (a, b))

    run(main())


def test_beside_a_callback_of_the_other_direction(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        calls = 0

        def writable():
            nonlocal calls
            calls += 1

        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        loop.add_writer(a, writable)
        while calls < 3:
            await asyncio.sleep(0)
        b.send(b"one")
        assert await waiting == b"one"
        seen = calls
        while calls < seen + 3:
            await asyncio.sleep(0)
        # And the other way round: the callback was there first.
        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        b.send(b"two")
        assert await waiting == b"two"
        assert loop.remove_writer(a)
        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        b.send(b"three")
        assert await waiting == b"three"

    run(main())


def test_cancelled_with_data_there_takes_nothing(run, pair):
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(b, 10))
        await asyncio.sleep(0)
        a.send(b"kept")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await loop.sock_recv(b, 10) == b"kept"

    run(main())


def test_the_watch_of_a_transport_is_left_alone(run, pair):
    a, _ = pair

    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=a)
        transport.pause_reading()
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recv(a, 10)
        transport.abort()
        await asyncio.sleep(0)

    run(main())


def test_methods_of_a_subclass_are_called(run):
    class Loud(socket.socket):
        def recv(self, *args):
            return super().recv(*args).upper()

        def send(self, data, *args):
            return super().send(bytes(data).lower(), *args)

    async def main():
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with Loud(fileno=ours.detach()) as loud, peer:
            loud.setblocking(False)
            peer.setblocking(False)
            waiting = asyncio.create_task(loop.sock_recv(loud, 10))
            await asyncio.sleep(0)
            peer.send(b"data")
            assert await waiting == b"DATA"
            await loop.sock_sendall(loud, b"DATA")
            assert peer.recv(10) == b"data"

    run(main())


def test_who_replaces_methods_of_the_class_is_asked(run, monkeypatch):
    """As tests and tools do that forbid connections, also while the loop runs."""
    calls = []

    def replace(name):
        usual = getattr(socket.socket, name)

        def replaced(self, *args):
            calls.append(name)
            return usual(self, *args)

        monkeypatch.setattr(socket.socket, name, replaced)

    async def exchange(server):
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read(1) == b"!"
        writer.close()
        await writer.wait_closed()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"12")
            assert await loop.sock_recv(ours, 1) == b"1"
            assert await loop.sock_recv_into(ours, bytearray(1)) == 1
            await loop.sock_sendall(ours, b"3")
            if isinstance(loop, plait.EventLoop) and not calls:
                assert loop._try_recv(ours, 1) is None

    async def main():
        async def greet(reader, writer):
            writer.write(b"!")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            await exchange(server)
            assert calls == []
            for name in ("connect", "accept"):
                replace(name)
            await exchange(server)
            assert {"connect", "accept"} <= set(calls)
            assert calls.count("connect") == 1
            monkeypatch.undo()
            calls.clear()
            for name in ("recv", "recv_into", "send"):
                replace(name)
            await exchange(server)
            assert calls[-3:] == ["recv", "recv_into", "send"]
            monkeypatch.undo()
            calls.clear()
            await exchange(server)
            assert calls == []

    run(main())


def test_a_number_that_is_used_again(run):
    """What was watched of a closed socket is nothing to the next of its number."""

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(3):
            a, b = socket.socketpair()
            with a, b:
                a.setblocking(False)
                waiting = asyncio.create_task(loop.sock_recv(a, 10))
                await asyncio.sleep(0)
                b.send(b"data")
                assert await waiting == b"data"
        a, b = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=a)
        b.send(b"data")
        assert await reader.readexactly(4) == b"data"
        writer.close()
        await writer.wait_closed()
        b.close()

    run(main())


def test_a_socket_that_lives_on_elsewhere_keeps_nobody_awake(pair):
    """The kernel's watch outlives the number while a duplicate is open: it must end no wait."""
    a, b = pair
    loop = plait.new_event_loop()

    async def main():
        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        b.send(b"data")
        assert await waiting == b"data"

    with a.dup():
        loop.run_until_complete(main())
        a.close()
        b.send(b"more")
        # The kernel may tell of it once, and is then asked no more.
        for _ in range(3):
            loop.turn(0)
        before = time.monotonic()
        loop.turn(0.05)
        assert time.monotonic() - before >= 0.05
    loop.close()


def test_another_watch_takes_the_place(run, pair):
    """As in asyncio, the one that lost its place waits on, until cancelled."""
    a, b = pair

    async def main():
        loop = asyncio.get_running_loop()
        called = asyncio.Event()
        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        loop.add_reader(a, called.set)
        b.send(b"data")
        await called.wait()
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert loop.remove_reader(a)
        first = asyncio.create_task(loop.sock_recv(a, 10))
        assert await first == b"data"
        waiting = asyncio.create_task(loop.sock_recv(a, 10))
        await asyncio.sleep(0)
        assert loop.remove_reader(a)
        assert not loop.remove_reader(a)
        waiting.cancel()

    run(main())


def test_a_closed_loop(run, pair):
    async def main():
        return asyncio.get_running_loop()

    loop = run(main())
    for call in (loop.sock_recv(pair[0], 1), loop.sock_sendall(pair[0], b"x")):
        try:
            call.send(None)
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"  # noqa: PT017
        except StopIteration:
            # asyncio's own sends where it can.
            assert not isinstance(loop, plait.EventLoop)
        else:
            raise AssertionError("it waits on a closed loop")
        finally:
            call.close()


def test_a_loop_that_closes_under_a_wait(pair):
    loop = plait.new_event_loop()
    task = loop.create_task(loop.sock_recv(pair[0], 1))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False
    with pytest.raises(RuntimeError, match="closed"):
        task.cancel()
    del task
    gc.collect()


def test_a_cancelled_wait_is_forgotten(run, pair):
    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(pair[0], 10))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # What a task's own turn refers to ends with the next one's.
        await asyncio.sleep(0)
        gone = weakref.ref(task)
        del task
        gc.collect()
        assert gone() is None

    run(main())


def test_a_connection_that_takes_its_time(run):
    """Nobody accepts, and the queue is full: the call waits, and can be cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            listener.setblocking(False)

            async def connect():
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                await loop.sock_connect(client, listener.getsockname())
                return client

            first = await connect()
            waiting = [asyncio.create_task(connect()) for _ in range(2)]
            done, pending = await asyncio.wait(waiting, timeout=0.05)
            assert pending
            for _ in range(1 + len(done)):
                stack.enter_context((await loop.sock_accept(listener))[0])
            for task in pending:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert first.getpeername() == listener.getsockname()

    run(main())


def test_connections_are_audited():
    program = """
import asyncio, socket, sys
import plait
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event == "socket.connect" else None)
async def main():
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        assert seen == [(client, listener.getsockname())], seen
plait.run(main())
"""
    environment = {**os.environ, "PLAIT_ALLOW_DEBUG": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
