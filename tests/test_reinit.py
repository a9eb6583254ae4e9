"""A loop that goes on in a process forked from its own, and the parent that notices nothing."""

import selectors
import socket

import pytest
from forked import run

import plait


def test_callbacks_timers_and_watches_live_on_in_both() -> None:
    said = run("""
    def say(what):
        who = "child" if os.getpid() != parent else "parent"
        # In one piece: the two write to one pipe.
        os.write(1, f"{who} {what}\\n".encode())

    ours, theirs = socket.socketpair()
    writes, reads = socket.socketpair()
    loop = plait.new_event_loop()
    loop.call_soon(say, "soon")
    loop.call_later(0.01, say, "later")
    loop.call_later(0.02, loop.stop)
    watcher = loop.io_watcher(ours, 1)
    stopped = loop.io_watcher(ours, 1)
    loop.add_prepare(lambda: None)

    def read():
        say(ours.recv(1, socket.MSG_PEEK))
        watcher.stop()
        loop.remove_reader(ours)

    watcher.start(say, "watcher")
    stopped.start(say, "never")
    loop.add_reader(ours, read)

    def child():
        refused(loop.turn)
        refused(loop.call_soon, print)
        stopped.stop()
        loop.reinit()
        loop.run_forever()
        loop.close()

    # The parent watches what it did, whatever the child did with its own.
    assert in_child(child) == 0
    theirs.send(b"x")
    stopped.stop()
    loop.run_forever()
    loop.close()
    """)
    parent = [line.partition(" ")[2] for line in said.splitlines() if line.startswith("parent")]
    child = [line.partition(" ")[2] for line in said.splitlines() if line.startswith("child")]
    assert child == ["soon", "later"]
    assert sorted(parent) == ["b'x'", "later", "soon", "watcher"]


def test_each_hears_of_what_both_watch_until_it_stops() -> None:
    """The child's epoll is its own: what it stops, the parent watches on, and the other way."""
    run("""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    go, done = socket.socketpair(), socket.socketpair()
    loop = plait.new_event_loop()
    heard = []
    loop.add_reader(ours, heard.append, 1)
    loop.turn(0)

    pid = os.fork()
    if pid == 0:
        loop.reinit()
        loop.remove_reader(ours)
        loop.add_writer(theirs, print)
        loop.remove_writer(theirs)
        done[1].send(b"1")
        go[0].recv(1)
        # The parent has stopped listening: it is heard here all the same.
        loop.add_reader(ours, heard.append, "child")
        loop.turn(30)
        assert heard == ["child"], heard
        os._exit(0)
    done[0].recv(1)
    theirs.send(b"x")
    loop.turn(30)
    assert heard == [1], heard
    loop.remove_reader(ours)
    go[1].send(b"2")
    assert exit_code(pid) == 0
    loop.close()
    """)


def test_the_bell_is_the_childs_own() -> None:
    """Who schedules something in the child does not wake the parent, and the other way."""
    run("""
    import time

    loop = plait.new_event_loop()
    # As if it slept, so that the bell is rung.
    loop.backend_timeout()

    def child():
        loop.reinit()
        loop.backend_timeout()
        loop.call_soon(print)
        import select
        poll = select.poll()
        poll.register(loop.fileno(), select.POLLIN)
        assert poll.poll(30_000)
        ran = []
        thread = threading.Timer(0.01, loop.call_soon_threadsafe, (ran.append, 1))
        thread.start()
        while not ran:
            loop.turn()
        thread.join()

    assert in_child(child) == 0
    import select
    poll = select.poll()
    poll.register(loop.fileno(), select.POLLIN)
    assert not poll.poll(0)
    loop.call_soon_threadsafe(print)
    assert poll.poll(30_000)
    loop.close()
    """)


def test_a_fork_in_a_callback_goes_on_in_the_child() -> None:
    said = run("""
    ran = []
    loop = plait.new_event_loop()

    async def main():
        loop.call_soon(ran.append, "soon")
        pid = os.fork()
        if pid == 0:
            loop.reinit()
            assert loop.is_running() and asyncio.get_running_loop() is loop
        await asyncio.sleep(0.001)
        assert ran == ["soon"]
        assert await asyncio.to_thread(os.getpid) == os.getpid()
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        with ours, theirs:
            await loop.sock_sendall(theirs, b"x")
            assert await loop.sock_recv(ours, 1) == b"x"
        return pid

    pid = loop.run_until_complete(main())
    assert not loop.is_running() and asyncio._get_running_loop() is None
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    if pid:
        assert exit_code(pid) == 0
    print("child" if os.getpid() != parent else "parent")
    """)
    assert sorted(said.split()) == ["child", "parent"]


def test_a_fork_in_another_thread_leaves_a_loop_that_does_not_run() -> None:
    run("""
    ran = []
    loop = plait.new_event_loop()
    started = threading.Event()
    loop.call_soon(started.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started.wait()
    # It sleeps, so nothing is in the middle of being run.

    def child():
        loop.reinit()
        assert not loop.is_running()
        loop.call_soon(ran.append, 1)
        assert loop.turn(0) is False
        assert ran == [1]
        loop.close()

    assert in_child(child) == 0
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    """)


def test_connections_stay_with_the_parent() -> None:
    run("""
    async def main():
        reader, writer, theirs = await crowded()
        waiting = asyncio.create_task(reader.read(10))
        await asyncio.sleep(0)
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            loop.reinit()
            try:
                await waiting
            except ConnectionAbortedError as error:
                assert "stayed with the process" in str(error)
            else:
                raise AssertionError("read something")
            assert writer.transport.is_closing()
            for call in (writer.write, writer.transport.write):
                try:
                    call(b"b")
                except ConnectionAbortedError:
                    pass
                else:
                    raise AssertionError("wrote something")
            # A new one works.
            mine = socket.socketpair()
            reader2, writer2 = await asyncio.open_connection(sock=mine[0])
            mine[1].send(b"hello\\n")
            assert await reader2.readline() == b"hello\\n"
            writer2.close()
            await writer2.wait_closed()
            mine[1].close()
            theirs.close()
            os._exit(0)
        assert await received(theirs, len(CROWD)) == CROWD
        assert await asyncio.to_thread(exit_code, pid) == 0
        theirs.send(b"x")
        assert await waiting == b"x"
        writer.close()
        await writer.wait_closed()
        theirs.close()

    loop = plait.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    """)


def test_a_server_is_served_by_both() -> None:
    """Listening sockets are watched on: the way of servers that fork after they bind."""
    run("""
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"%d\\n" % os.getpid())
        await writer.drain()
        writer.close()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"who\\n")
        pid = int(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return pid

    loop = plait.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]

    def child():
        loop.reinit()
        assert loop.run_until_complete(ask(port)) == os.getpid()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()

    # The parent does not turn its loop meanwhile: the child answers.
    assert in_child(child) == 0
    assert loop.run_until_complete(ask(port)) == parent
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()
    """)


def test_signal_handlers_live_on_in_both() -> None:
    run("""
    heard = []
    loop = plait.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "heard")

    def child():
        loop.reinit()
        os.kill(os.getpid(), signal.SIGUSR1)
        while not heard:
            loop.turn(30)
        assert heard == ["heard"]
        assert loop.remove_signal_handler(signal.SIGUSR1)
        loop.close()

    assert in_child(child) == 0
    loop.turn(0)
    loop.turn(0)
    assert heard == [], "it was the child's"
    os.kill(parent, signal.SIGUSR1)
    while not heard:
        loop.turn(30)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.close()
    """)


def test_generations_of_forks() -> None:
    run("""
    loop = plait.new_event_loop()
    ran = []
    loop.call_later(0.001, ran.append, 1)

    def child(depth):
        loop.reinit()
        if depth:
            assert in_child(lambda: child(depth - 1)) == 0
        while loop.turn():
            pass
        assert ran == [1]
        loop.close()

    assert in_child(lambda: child(3)) == 0
    while loop.turn():
        pass
    assert ran == [1]
    loop.close()
    """)


def test_without_a_descriptor_left_it_can_be_tried_again() -> None:
    run("""
    import resource

    loop = plait.new_event_loop()
    ran = []
    loop.call_soon(ran.append, 1)

    def child():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            loop.reinit()
        except OSError as error:
            assert error.errno == 24, error
        else:
            raise AssertionError("made an epoll of nothing")
        refused(loop.turn)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        loop.reinit()
        loop.turn(0)
        assert ran == [1]
        loop.close()

    assert in_child(child) == 0
    loop.close()
    """)


def test_a_closed_loop_stays_closed() -> None:
    run("""
    loop = plait.new_event_loop()
    loop.close()

    def child():
        try:
            loop.reinit()
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"
        else:
            raise AssertionError("reinit of a closed loop")

    child()
    assert in_child(child) == 0
    """)


def test_without_a_fork_all_is_watched_anew() -> None:
    loop = plait.new_event_loop()
    ours, theirs = socket.socketpair()
    heard = []
    with ours, theirs:
        loop.add_reader(ours, heard.append, "reader")
        loop.io_watcher(ours, selectors.EVENT_READ).start(heard.append, "watcher")
        number = loop.fileno()
        loop.reinit()
        assert loop.fileno() == number
        theirs.send(b"x")
        loop.turn(30)
        assert sorted(heard) == ["reader", "watcher"]
        loop.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            loop.reinit()
