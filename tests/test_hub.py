"""Green threads and asyncio on one loop: a hub as gevent's, in a few lines, over the loop's turns.

The hub is a greenlet that runs the loop; whoever blocks starts a watcher and switches there.
Callbacks of the hub run before each poll, as gevent's do.
"""

import asyncio
import os
import selectors
import socket

import greenlet
import pytest
from forked import run

import plait

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="greenlets copy stacks, which the sanitizer takes for an error",
)


class LoopExit(Exception):
    """Nothing is left that could wake who waits."""


class Hub(greenlet.greenlet):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.callbacks = []
        # As gevent's own watchers: they keep nothing alive, each callback does.
        loop.add_prepare(self.run_callbacks, ref=False)

    def run(self):
        while True:
            self.loop.run_while_alive()
            self.parent.throw(LoopExit())

    def run_callbacks(self):
        callbacks, self.callbacks = self.callbacks, []
        for callback, args in callbacks:
            self.loop.unref()
            callback(*args)
        if self.callbacks:
            # Those are for the next turn: the poll of this one is not to wait.
            self.loop.call_soon(int)

    def run_callback(self, callback, *args):
        self.callbacks.append((callback, args))
        self.loop.ref()

    def wait(self, sock, events):
        watcher = self.loop.io_watcher(sock, events)
        watcher.start(greenlet.getcurrent().switch)
        try:
            self.switch()
        finally:
            watcher.stop()

    def sleep(self, seconds):
        timer = self.loop.call_later(seconds, greenlet.getcurrent().switch)
        try:
            self.switch()
        finally:
            timer.cancel()

    def spawn(self, function, *args):
        thread = greenlet.greenlet(function, self)
        self.run_callback(thread.switch, *args)
        return thread

    def join(self):
        """Run until nothing is left; for the main greenlet."""
        with pytest.raises(LoopExit):
            self.switch()

    # -- what blocks --------------------------------------------------------

    def recv(self, sock, size):
        while True:
            try:
                return sock.recv(size)
            except BlockingIOError:
                self.wait(sock, READ)

    def sendall(self, sock, data):
        while data:
            try:
                data = data[sock.send(data) :]
            except BlockingIOError:
                self.wait(sock, WRITE)

    def accept(self, sock):
        while True:
            try:
                connection, _ = sock.accept()
            except BlockingIOError:
                self.wait(sock, READ)
            else:
                connection.setblocking(False)
                return connection

    def connect(self, address):
        sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            self.wait(sock, WRITE)
        return sock


@pytest.fixture
def loop():
    loop = plait.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def hub(loop):
    return Hub(loop)


def listen():
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server


def test_sleepers_wake_in_order_beside_tasks(loop, hub):
    said = []

    def sleeper(name, seconds):
        for step in range(3):
            hub.sleep(seconds)
            said.append((name, step))

    async def task():
        for step in range(3):
            await asyncio.sleep(0.02)
            said.append(("task", step))

    for name, seconds in (("slow", 0.02), ("fast", 0.001)):
        hub.spawn(sleeper, name, seconds)
    done = loop.create_task(task())
    hub.join()
    assert done.done()
    for name in ("fast", "slow", "task"):
        assert [step for other, step in said if other == name] == [0, 1, 2]
    assert said[0][0] == "fast"
    assert not loop.is_alive()


def test_main_itself_may_block(hub):
    hub.sleep(0.001)
    hub.sleep(0)
    with pytest.raises(LoopExit):
        hub.switch()


def test_many_wait_for_one_socket(loop, hub):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    got = []

    def reader():
        got.append(hub.recv(ours, 1))

    with ours, theirs:
        for _ in range(5):
            hub.spawn(reader)
        hub.spawn(theirs.send, b"abcde")
        loop.add_reader(ours, lambda: loop.remove_reader(ours))
        hub.join()
    assert sorted(got) == [b"a", b"b", b"c", b"d", b"e"]


def test_green_clients_of_an_asyncio_server(loop, hub):
    answers = []

    async def shout(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    def client(address, name):
        with hub.connect(address) as sock:
            for number in range(5):
                hub.sendall(sock, f"{name} {number}\n".encode())
                answers.append(hub.recv(sock, 100).decode().strip())
        clients.remove(name)
        if not clients:
            server.close()

    server = loop.run_until_complete(asyncio.start_server(shout, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    clients = {f"c{number}" for number in range(10)}
    for name in sorted(clients):
        hub.spawn(client, address, name)
    hub.join()
    assert sorted(answers) == sorted(f"C{name} {step}" for name in range(10) for step in range(5))
    loop.run_until_complete(server.wait_closed())


def test_asyncio_clients_of_a_green_server(loop, hub):
    server = listen()

    def serve(connection):
        with connection:
            while data := hub.recv(connection, 100_000):
                hub.sendall(connection, data)

    def accept():
        with server:
            for _ in range(10):
                hub.spawn(serve, hub.accept(server))

    async def client(number):
        reader, writer = await asyncio.open_connection(*server.getsockname())
        data = bytes([number]) * 300_000
        writer.write(data)
        answer = await reader.readexactly(len(data))
        writer.close()
        await writer.wait_closed()
        return answer == data

    async def main():
        return await asyncio.gather(*(client(number) for number in range(10)))

    hub.spawn(accept)
    task = loop.create_task(main())
    hub.join()
    assert task.result() == [True] * 10


def test_a_green_thread_waits_for_a_task_and_a_task_for_a_green_thread(loop, hub):
    """Each waits for the other in its own way, inside the turns of one loop."""

    def await_green(future):
        future.add_done_callback(greenlet.getcurrent().switch)
        return hub.switch().result()

    def green(result):
        first = await_green(loop.create_task(coroutine(1)))
        hub.sleep(0.001)
        result.set_result(first + 1)

    async def coroutine(value):
        await asyncio.sleep(0.001)
        return value + await asyncio.to_thread(int, "10")

    async def main():
        result = loop.create_future()
        hub.spawn(green, result)
        # A pool's thread is nothing that the loop knows.
        loop.ref()
        try:
            return await result
        finally:
            loop.unref()

    task = loop.create_task(main())
    hub.join()
    assert task.result() == 12
    loop.run_until_complete(loop.shutdown_default_executor())


def test_an_exception_in_a_green_thread_ends_that_one(loop, hub):
    """It goes to its parent, the hub, and from there to the loop's handler."""
    reports = []
    ran = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    def fail():
        hub.sleep(0)
        raise ValueError("no")

    def go_on():
        hub.sleep(0.01)
        ran.append(1)

    hub.spawn(fail)
    hub.spawn(go_on)
    hub.join()
    assert ran == [1]
    assert [str(report["exception"]) for report in reports] == ["no"]


def test_turn_by_turn_without_a_hub(loop):
    """A test that steps green threads: the loop is turned between any two looks at them."""
    said = []
    main = greenlet.getcurrent()

    def thread():
        for step in range(3):
            loop.call_soon(greenlet.getcurrent().switch)
            said.append(step)
            greenlet.getcurrent().parent.switch()

    green = greenlet.greenlet(thread)
    green.switch()
    assert said == [0]
    for expected in ([0, 1], [0, 1, 2], [0, 1, 2]):
        # The switch into the thread comes from the turn, and back into it.
        green.parent = turner = greenlet.greenlet(lambda: loop.turn(0))
        turner.switch()
        assert said == expected
    assert green.dead
    assert greenlet.getcurrent() is main


def test_green_threads_go_on_in_the_child_of_a_fork() -> None:
    said = run("""
    import greenlet

    loop = plait.new_event_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pids = []

    def say(what):
        who = "child" if os.getpid() != parent else "parent"
        # In one piece: the two write to one pipe.
        os.write(1, f"{what} {who}\\n".encode())

    class Hub(greenlet.greenlet):
        def run(self):
            loop.run_while_alive()

    hub = Hub()

    def sleep(seconds):
        loop.call_later(seconds, greenlet.getcurrent().switch)
        hub.switch()

    def sleeper():
        sleep(0.01)
        say("woke")

    def forker():
        sleep(0.001)
        pid = os.fork()
        if pid == 0:
            loop.reinit()
        else:
            pids.append(pid)
        sleep(0.001)

    async def task():
        await asyncio.sleep(0.02)
        say("task")

    kept = loop.create_task(task())
    for function in (sleeper, forker):
        loop.call_soon(greenlet.greenlet(function, hub).switch)
    hub.switch()
    loop.close()
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ours.close()
    theirs.close()
    """)
    assert sorted(said.splitlines()) == ["task child", "task parent", "woke child", "woke parent"]
