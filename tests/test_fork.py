"""A loop that came along in a fork says so and touches nothing; a new one works.

Each program runs in a process of its own, and ends itself if it hangs.
"""

import pytest
from forked import run


@pytest.mark.parametrize("running", [False, True])
def test_every_use_in_the_child_is_refused(running: bool) -> None:
    run(f"""
    async def nothing():
        pass

    def use(loop):
        ours, theirs = socket.socketpair()
        refused(loop.call_soon, print)
        refused(loop.call_soon_threadsafe, print)
        refused(loop.call_later, 1, print)
        refused(loop.call_at, 1, print)
        refused(loop.add_reader, ours, print)
        refused(loop.add_writer, ours, print)
        refused(loop.run_forever)
        refused(loop._run_once)
        refused(loop.run_in_executor, None, print)
        refused(loop.add_signal_handler, signal.SIGUSR1, print)
        refused(loop.run_until_complete, loop.create_future())
        coro = nothing()
        refused(loop.create_task, coro)
        coro.close()
        ours.close()
        theirs.close()
        assert not loop.is_running() and not loop.is_closed()
        loop.close()
        assert loop.is_closed()
        try:
            loop.call_soon(print)
        except RuntimeError as error:
            assert str(error) == "Event loop is closed"

    async def main():
        assert in_child(lambda: use(loop)) == 0
        await asyncio.sleep(0.001)

    loop = plait.new_event_loop()
    if {running}:
        loop.run_until_complete(main())
    else:
        assert in_child(lambda: use(loop)) == 0
        loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    """)


@pytest.mark.parametrize("run_with", ["asyncio", "plait"])
def test_a_new_loop_works_in_a_child_forked_by_a_running_one(run_with: str) -> None:
    run(f"""
    async def fresh():
        try:
            reader, writer = await asyncio.open_connection(sock=pair[0])
            writer.write(b"x")
            await asyncio.sleep(0.001)
            assert pair[1].recv(1) == b"x"
            assert await asyncio.to_thread(os.getpid) == os.getpid() != parent
        finally:
            writer.close()

    def child():
        assert asyncio._get_running_loop() is None
        {run_with}.run(fresh())
        assert signal.set_wakeup_fd(-1) == -1

    async def main():
        assert await asyncio.to_thread(os.getpid) == parent
        assert in_child(child) == 0
        await asyncio.sleep(0.001)

    pair = socket.socketpair()
    plait.install()
    asyncio.run(main())
    pair[0].close()
    pair[1].close()
    """)


def test_a_callback_that_returns_in_the_child_ends_the_loop_there() -> None:
    said = run("""
    ran = []

    def fork():
        if os.fork() == 0:
            ran.append("child")

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(fork)
        loop.call_soon(ran.append, "after")
        loop.call_later(0.001, ran.append, "later")
        await asyncio.sleep(0.01)

    try:
        loop = plait.new_event_loop()
        loop.run_until_complete(main())
    except RuntimeError as error:
        assert os.getpid() != parent
        assert f"made in process {parent}" in str(error)
        # What waited for its turn is the parent's, and nothing of it ran.
        assert ran == ["child"], ran
        print("child ended", flush=True)
        os._exit(0)
    assert os.getpid() == parent and ran == ["after", "later"], ran
    loop.close()
    assert exit_code(-1) == 0
    """)
    assert said == "child ended\n"


def test_the_parents_connections_are_left_alone() -> None:
    run("""
    async def main():
        reader, writer, theirs = await crowded()

        def child():
            transport = writer.transport
            assert transport.is_closing()
            refused(transport.write, b"b")
            refused(transport.writelines, [b"b", b"b"])
            transport.close()
            transport.abort()
            loop.close()

        assert in_child(child) == 0
        loop.call_soon(writer.close)
        # Up to the end, so that nothing more came.
        data = await received(theirs, len(CROWD) + 1)
        theirs.close()
        assert data == CROWD, len(data)

    loop = plait.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    """)


def test_the_parents_watches_survive_the_close_in_the_child() -> None:
    run("""
    async def main():
        ours, theirs = socket.socketpair()
        ready = asyncio.Event()
        loop.add_reader(ours, ready.set)

        def child():
            # Removing it through the epoll that both share would end the
            # parent's watch as well.
            loop.remove_reader(ours)
            loop.close()
            ours.close()
            theirs.close()

        assert in_child(child) == 0
        theirs.send(b"x")
        await asyncio.wait_for(ready.wait(), 20)
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    loop = plait.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    """)


def test_a_signal_to_the_child_is_not_the_parents() -> None:
    run("""
    heard = []

    def child():
        assert signal.set_wakeup_fd(-1) == -1
        signal.signal(signal.SIGUSR1, lambda *_: heard.append("child"))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == ["child"]
        loop.close()

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, heard.append, "parent")
        assert in_child(child) == 0
        await asyncio.sleep(0.001)
        assert heard == []
        done = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, done.set)
        os.kill(parent, signal.SIGUSR1)
        await asyncio.wait_for(done.wait(), 20)

    loop = plait.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    """)


def test_what_is_not_closed_in_the_child_dies_quietly() -> None:
    run("""
    async def main():
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        assert in_child(lambda: refused(task.cancel)) == 0
        task.cancel()

    plait.run(main())
    """)


def test_a_fork_as_the_loop_is_about_to_wait_leaves_the_wait_to_the_parent() -> None:
    run("""
    import contextvars

    class Forks(str):
        def __del__(self):
            global child
            child = os.fork()
            if child:
                os.close(writer)

    def cancel(timers):
        # It goes, and the context with it, as the loop is about to wait.
        timers.pop().cancel()

    child = None
    reader, writer = os.pipe()
    loop = plait.new_event_loop()
    context = contextvars.Context()
    context.run(contextvars.ContextVar("forks").set, Forks("x"))
    timers = [loop.call_later(1, print, context=context)]
    del context
    loop.call_soon(loop.call_soon, cancel, timers)
    # The child is to end at once, not with the wait of both.
    loop.add_reader(reader, loop.stop)
    late = loop.call_later(10, os._exit, 3)
    try:
        loop.run_forever()
    except RuntimeError as error:
        assert child == 0 and "forked from it" in str(error), error
        os._exit(0)
    late.cancel()
    assert child
    assert exit_code(child) == 0
    loop.close()
    """)
