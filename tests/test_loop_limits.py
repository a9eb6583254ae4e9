"""Where something runs out: connections by the thousand, peers that do not read, descriptors."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from both_loops import compare, turns

import plait

CROWD = Path(__file__).parent / "helpers" / "crowd.py"
IDLE, BUSY, ROUNDS = 10_000, 1000, 5
# Under AddressSanitizer all is many times slower.
LIMIT = 600 if "libasan" in os.environ.get("LD_PRELOAD", "") else 100


def in_a_child(program, *args, timeout=LIMIT):
    """Run a program on the loops in a process of its own; return what it prints."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer.stdout.split()


def test_ten_thousand_idle_and_a_thousand_busy_connections():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < IDLE + BUSY + 200:
        pytest.skip(f"a process here may have {hard} descriptors only (ulimit -Hn)")
    program = """
        import asyncio, os, resource, sys
        import plait

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        crowd, idle, busy, rounds = sys.argv[1], *map(int, sys.argv[2:])
        open_now = lost = 0

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                global open_now
                self.transport = transport
                open_now += 1

            def data_received(self, data):
                self.transport.write(data)

            def connection_lost(self, error):
                global lost
                lost += 1

        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
            port = server.sockets[0].getsockname()[1]
            import subprocess
            child = subprocess.Popen(
                [sys.executable, crowd, str(port), str(idle), str(busy), str(rounds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            ready = await loop.run_in_executor(None, child.stdout.readline)
            assert ready == b"ready\\n", ready
            while open_now < idle + busy:
                await asyncio.sleep(0.001)
            child.stdin.write(b"go\\n"); child.stdin.flush()
            done = int(await loop.run_in_executor(None, child.stdout.readline))
            assert lost == 0
            child.communicate(b"end\\n")
            while lost < idle + busy:
                await asyncio.sleep(0.001)
            server.close()
            await server.wait_closed()
            print(open_now, done, child.returncode)

        before = len(os.listdir("/proc/self/fd"))
        plait.run(main())
        assert len(os.listdir("/proc/self/fd")) == before
    """
    made, done, status = in_a_child(program, CROWD, IDLE, BUSY, ROUNDS)
    assert (int(made), int(done), int(status)) == (IDLE + BUSY, BUSY * ROUNDS, 0)


async def slow_pair(high):
    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    for sock in (ours, peer):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    _reader, writer = await asyncio.open_connection(sock=ours)
    writer.transport.set_write_buffer_limits(high)
    return loop, writer, peer


@pytest.mark.parametrize("high", [0, 1000, 65536])
def test_a_slow_reader_keeps_a_stream_below_its_mark(high):
    """What waits is at most the mark and the write that went over it."""
    chunk = 50_000

    async def scenario(record):
        loop, writer, peer = await slow_pair(high)
        most = 0

        async def produce():
            nonlocal most
            for _ in range(100):
                writer.write(bytes(chunk))
                most = max(most, writer.transport.get_write_buffer_size())
                await writer.drain()
            writer.write_eof()

        producing = asyncio.ensure_future(produce())
        received = 0
        while data := await loop.sock_recv(peer, 3000):
            received += len(data)
        await producing
        record.note("received", received, "below the mark", most <= high + chunk)
        writer.close()
        await writer.wait_closed()
        peer.close()

    told = compare(scenario)
    assert told["notes"] == [("received", 100 * chunk, "below the mark", True)]


def test_a_reader_that_never_reads_stops_a_protocol():
    async def scenario(record):
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        free = asyncio.Event()
        free.set()

        class Producer(asyncio.Protocol):
            def pause_writing(self):
                free.clear()

            def resume_writing(self):
                free.set()

        transport, _ = await loop.create_connection(Producer, sock=ours)
        writes = 0
        while free.is_set():
            transport.write(bytes(10_000))
            writes += 1
            assert writes < 10_000, "never told to pause"
            await asyncio.sleep(0)
        await turns(100)
        record.note("paused", not free.is_set())
        record.note("below", transport.get_write_buffer_size() <= 64 * 1024 + 10_000)
        transport.abort()
        await turns()
        peer.close()

    told = compare(scenario)
    assert told["notes"] == [("paused", True), ("below", True)]


FULL = """
    import asyncio, os, resource, socket, sys
    import plait

    asyncio.constants.ACCEPT_RETRY_DELAY = 0.2
    reported = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        # What is imported on the way needs descriptors too.
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address)
        writer.close()
        await writer.wait_closed()
        for episode in (1, 2):
            clients = [socket.socket() for _ in range(3)]
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            fillers = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
            while True:
                try:
                    fillers.append(os.dup(0))
                except OSError:
                    break
            for client in clients:
                client.setblocking(False)
                try:
                    client.connect(address)
                except BlockingIOError:
                    pass
            while len(reported) < episode:
                await asyncio.sleep(0)
            # Until well into the pause: it must not ask again in each turn.
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(reported) == episode, reported
            try:
                await asyncio.open_connection(*address)
            except OSError as error:
                assert error.errno == 24, error
            else:
                raise AssertionError("connected without a descriptor")
            try:
                plait.new_event_loop()
            except OSError as error:
                assert error.errno == 24, error
            else:
                raise AssertionError("made a loop without a descriptor")
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for client in clients:
                assert await loop.sock_recv(client, 1) == b""
                client.close()
        server.close()
        await server.wait_closed()

    before = len(os.listdir("/proc/self/fd"))
    plait.run(main())
    assert len(os.listdir("/proc/self/fd")) == before
    print(*{context["message"].replace(" ", "_") for context in reported}, len(reported))
"""


def test_without_descriptors():
    """accept waits and says so once for each episode, and serves when there are some again;
    connections and loops are refused with the system's error and leave nothing behind. (asyncio
    says it once for each connection that the socket's queue may hold, up to 3.12.)"""
    assert in_a_child(FULL) == ["socket.accept()_out_of_system_resource", "2"]


def test_a_storm_of_threads_while_the_loop_closes():
    """Each call is taken or refused with the standard error, and the process lives."""
    program = """
        import asyncio, threading
        import plait

        for _ in range(5):
            loop = plait.new_event_loop()
            ran, taken, refused = [], [], []

            def storm(kind):
                try:
                    while True:
                        kind(ran.append, 1)
                        taken.append(1)
                except RuntimeError as error:
                    refused.append(str(error))

            threads = [
                threading.Thread(target=storm, args=(loop.call_soon_threadsafe,))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
            loop.close()
            for thread in threads:
                thread.join()
            assert refused == ["Event loop is closed"] * 4, refused
            assert ran, "none ran"
            assert len(ran) <= len(taken)
        print("lived")
    """
    assert in_a_child(program) == ["lived"]


def test_a_closed_loop_refuses(factory):
    loop = factory()
    loop.close()

    async def never():
        raise AssertionError

    coroutine = never()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coroutine)
    coroutine.close()
    for call in (
        loop.run_forever,
        lambda: loop.call_soon(print),
        lambda: loop.call_later(0, print),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    loop.close()


def test_stop_inside_callbacks():
    def transcript(factory):
        loop = factory()
        seen = []
        loop.call_soon(lambda: (seen.append(1), loop.stop(), loop.stop()))
        loop.call_soon(lambda: (seen.append(2), loop.call_soon(seen.append, 3)))
        loop.run_forever()
        seen.append("stopped")
        future = loop.create_future()
        loop.call_soon(loop.stop)
        with pytest.raises(RuntimeError, match="stopped before Future completed"):
            loop.run_until_complete(future)
        loop.call_soon(future.set_result, 4)
        seen.append(loop.run_until_complete(future))
        loop.close()
        return seen

    assert transcript(plait.new_event_loop) == transcript(asyncio.SelectorEventLoop)


def test_readers_of_closed_and_reused_numbers():
    async def scenario(record):
        loop = asyncio.get_running_loop()
        # Before the number is free, or one of these would get it.
        c, d = socket.socketpair()
        a, b = socket.socketpair()
        number = b.fileno()
        loop.add_reader(number, record.note, "old")
        b.close()
        # The kernel has forgotten it; the loop must not fail over that.
        record.note("removed", loop.remove_reader(number))
        record.note("again", loop.remove_reader(number), loop.remove_writer(number))
        with pytest.raises(OSError, match="Bad file descriptor"):
            loop.add_reader(number, record.note, "closed")
        os.dup2(d.fileno(), number)
        got = loop.create_future()
        loop.add_reader(number, got.set_result, "new")
        c.send(b"x")
        record.note(await got)
        record.note("removed", loop.remove_reader(number))
        os.close(number)
        for sock in (a, c, d):
            sock.close()

    told = compare(scenario)
    assert told["notes"][-2:] == [("new",), ("removed", True)]
