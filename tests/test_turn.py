"""The loop turned from outside: what a turn waits for, what it runs, when it is over."""

import asyncio
import contextlib
import functools
import os
import select
import signal
import sys
import threading

import pytest

import plait


@pytest.fixture
def loop():
    loop = plait.new_event_loop()
    yield loop
    loop.close()


def now(loop):
    """Turn without waiting."""
    return loop.turn(0)


# -- one turn ---------------------------------------------------------------


def test_a_turn_runs_what_is_ready_and_no_more(loop):
    ran = []

    def first():
        ran.append("first")
        loop.call_soon(ran.append, "later")

    loop.call_soon(first)
    loop.call_soon(ran.append, "second")
    assert now(loop) is True
    assert ran == ["first", "second"]
    assert now(loop) is False
    assert ran == ["first", "second", "later"]


def test_a_turn_waits_for_a_timer_and_not_longer(loop):
    ran = []
    begun = loop.time()
    loop.call_later(0.01, ran.append, "due")
    loop.turn(60)
    assert ran == ["due"]
    assert 0.01 <= loop.time() - begun < 30


def test_a_turn_waits_no_longer_than_told(loop):
    ran = []
    loop.call_later(3600, ran.append, "due")
    begun = loop.time()
    assert loop.turn(0.01) is True
    assert 0.01 <= loop.time() - begun < 30
    assert loop.turn(0) is True
    assert loop.turn(-1) is True
    assert ran == []


@pytest.mark.parametrize("timeout", ["1", object(), 1j])
def test_a_timeout_is_a_number(loop, timeout):
    with pytest.raises(TypeError):
        loop.turn(timeout)
    assert not loop.is_running()


def test_a_turn_waits_for_another_thread(loop):
    ran = []
    thread = threading.Timer(0.01, loop.call_soon_threadsafe, (ran.append, 1))
    thread.start()
    while not ran:
        loop.turn()
    thread.join()


def test_a_turn_if_alive_does_not_wait_for_nothing(loop):
    assert loop.turn(if_alive=True) is False
    loop.ref()
    thread = threading.Timer(0.01, loop.call_soon_threadsafe, (loop.unref,))
    thread.start()
    while loop.turn(if_alive=True):
        pass
    thread.join()


def test_stop_ends_the_wait_of_one_turn(loop):
    loop.stop()
    assert loop.turn() is False
    begun = loop.time()
    loop.turn(0.01)
    assert loop.time() - begun >= 0.01


def test_the_loop_runs_inside_a_turn_and_only_there(loop):
    seen = []

    async def agen():
        yield 1

    async def look():
        seen.append(asyncio.get_running_loop())
        seen.append(loop.is_running())
        # The loop's hooks hear of it, and close it at shutdown.
        generator = agen()
        await anext(generator)
        seen.append(generator)

    hooks = sys.get_asyncgen_hooks()
    task = loop.create_task(look())
    while not task.done():
        loop.turn()
    assert seen[:2] == [loop, True]
    assert seen[2] in loop._asyncgens
    assert sys.get_asyncgen_hooks() == hooks
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    loop.run_until_complete(loop.shutdown_asyncgens())


def test_a_turn_within_a_turn_is_refused(loop):
    errors = []

    def nested(call):
        with pytest.raises(RuntimeError) as error:
            call()
        errors.append(str(error.value))

    other = plait.new_event_loop()
    for call in (loop.turn, loop.run_while_alive, loop.run_forever, other.turn):
        loop.call_soon(nested, call)
    now(loop)
    other.close()
    assert errors == [
        *["This event loop is already running"] * 3,
        "Cannot run the event loop while another loop is running",
    ]


def test_a_turn_in_another_thread_at_once_is_refused(loop):
    running = threading.Event()
    loop.call_soon(running.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert running.wait(30)
    with pytest.raises(RuntimeError, match="already running"):
        loop.turn(0)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_each_turn_may_be_in_another_thread(loop):
    idents = []
    for _ in range(3):
        loop.call_soon(lambda: idents.append(threading.get_ident()))
        thread = threading.Thread(target=loop.turn)
        thread.start()
        thread.join()
    assert len(idents) == 3
    assert threading.get_ident() not in idents


def test_a_closed_loop_does_not_turn():
    loop = plait.new_event_loop()
    loop.close()
    for call in (
        loop.turn,
        loop.run_while_alive,
        loop.fileno,
        loop.backend_timeout,
        lambda: loop.add_prepare(print),
        lambda: loop.add_check(print),
        lambda: loop.add_idle(print),
        lambda: loop.call_at_turn_end(print),
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    assert loop.is_alive() is False


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("phase", ["prepare", "check", "idle", "close", "ready"])
def test_an_exception_that_ends_programs_leaves_the_loop_usable(loop, phase, kind):
    ran = []

    def fail():
        raise kind("out")

    def rest():
        for name in ("prepare", "check"):
            getattr(loop, f"add_{name}")(ran.append, name)
        loop.call_soon(ran.append, "ready")
        loop.call_at_turn_end(ran.append, "close")

    if phase == "ready":
        loop.call_soon(fail)
    elif phase == "close":
        loop.call_at_turn_end(fail)
    else:
        handle = getattr(loop, f"add_{phase}")(fail)
    if phase != "idle":
        rest()
    with pytest.raises(kind, match="out"):
        loop.turn(0)
    assert not loop.is_running()
    if phase not in ("ready", "close"):
        handle.cancel()
    if phase == "idle":
        rest()
    ran.clear()
    now(loop)
    # Neither lost nor run twice.
    late = {"ready": ["ready", "close"], "prepare": ["ready", "close"]}
    late.update(check=["ready", "close"], idle=["ready", "close"], close=["close"])
    assert ran == ["prepare", "check", *late[phase]]


def test_what_a_poll_found_outlives_a_signal_that_raises(loop, pair):
    """The kernel tells of a socket that somebody awaits once."""
    ours, theirs = pair
    interrupted = 0

    class Interrupted(Exception):
        pass

    def interrupt(signum, frame):
        # In the turn: no Python code runs there but this.
        if frame.f_code.co_name == "_drive" and loop.is_running():
            raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(1000):
            task = loop.create_task(loop.sock_recv(ours, 1))
            now(loop)
            theirs.send(b"x")
            # A C function, so that the signal waits for the turn to look.
            soon = functools.partial(signal.setitimer, signal.ITIMER_REAL, 1e-6)
            hook = loop.add_prepare(soon, ref=False)
            try:
                now(loop)
            except Interrupted:
                interrupted += 1
            hook.cancel()
            for _ in range(10):
                if not task.done():
                    loop.turn(1)
            assert task.done(), "the event was lost"
            assert task.result() == b"x"
            if interrupted == 10:
                break
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_one_wake_up_raises_keeps_no_other_from_being_woken(loop, pair, kind):
    """The kernel tells of a socket that somebody awaits once."""

    class Raises(asyncio.Future):
        def set_result(self, result):
            super().set_result(result)
            raise kind("out")

    loop.create_future = lambda: Raises(loop=loop)
    unraisable = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        tasks = [loop.create_task(loop.sock_recv(end, 1)) for end in pair]
        now(loop)
        for end in pair:
            end.send(b"x")
        with pytest.raises(kind, match="out"):
            now(loop)
    finally:
        sys.unraisablehook = before
        del loop.create_future
    # One alone can be raised.
    assert [what.exc_type for what in unraisable] == [kind]
    now(loop)
    assert [task.result() for task in tasks] == [b"x", b"x"]


def eventfds():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        # The one that lists the folder is closed by now.
        with contextlib.suppress(FileNotFoundError):
            if "eventfd" in os.readlink(f"/proc/self/fd/{fd}"):
                found.add(int(fd))
    return found


def test_what_fails_for_one_descriptor_loses_no_news_of_another(pair):
    before = eventfds()
    loop = plait.new_event_loop()
    (bell,) = eventfds() - before
    task = loop.create_task(loop.sock_recv(pair[0], 1))
    now(loop)
    # The kernel tells of the bell, which cannot be read, and of the socket after it.
    kept = os.dup(bell)
    os.write(kept, (1).to_bytes(8, sys.byteorder))
    os.close(bell)
    pair[1].send(b"x")
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            now(loop)
    finally:
        os.dup2(kept, bell)
        os.close(kept)
    now(loop)
    assert task.result() == b"x"
    loop.close()


@pytest.mark.parametrize("call", ["call_soon", "call_later", "call_at_turn_end"])
def test_what_could_not_be_scheduled_does_not_run(call):
    before = eventfds()
    loop = plait.new_event_loop()
    (bell,) = eventfds() - before
    ran = []
    delay = [0] if call == "call_later" else []
    # The bell is to be rung from here on, and cannot be.
    assert loop.backend_timeout() is None
    kept = os.dup(bell)
    os.close(bell)
    try:
        for attempt in range(2):
            with pytest.raises(OSError, match="Bad file descriptor"):
                getattr(loop, call)(*delay, ran.append, attempt)
    finally:
        os.dup2(kept, bell)
        os.close(kept)
    getattr(loop, call)(*delay, ran.append, 2)
    now(loop)
    assert ran == [2]
    loop.close()


def test_a_signal_handler_of_the_loop_is_called_within_turns(loop):
    heard = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, "signal")
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard == []
    now(loop)
    now(loop)
    assert heard == ["signal"]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_turns_leave_the_wake_up_descriptor_as_it_was(loop, pair):
    before = signal.set_wakeup_fd(pair[0].fileno(), warn_on_full_buffer=False)
    try:
        now(loop)
    finally:
        assert signal.set_wakeup_fd(before) == pair[0].fileno()


def test_an_asyncio_program_step_by_step(loop):
    """As a test would: each step of the program is a turn, and the next is asked for."""
    seen = []

    async def worker(name, queue):
        while (item := await queue.get()) is not None:
            seen.append((name, item))

    async def main():
        queue = asyncio.Queue()
        tasks = [asyncio.create_task(worker(name, queue)) for name in "ab"]
        for item in (1, 2, None, None):
            await queue.put(item)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return "done"

    task = loop.create_task(main())
    steps = 0
    while not task.done():
        assert loop.is_alive()
        before = len(seen)
        loop.turn(0)
        steps += 1
        assert len(seen) - before <= 1, "one item for each step"
    assert task.result() == "done"
    assert [item for _, item in seen] == [1, 2]
    assert steps > 4
    assert not now(loop)


# -- alive ------------------------------------------------------------------


def test_what_keeps_a_loop_alive(loop, pair):
    ours, _ = pair
    assert not loop.is_alive()
    timer = loop.call_later(3600, print)
    assert loop.is_alive()
    timer.cancel()
    assert not loop.is_alive()
    loop.add_reader(ours, print)
    assert loop.is_alive()
    loop.remove_reader(ours)
    assert not loop.is_alive()
    for add in (loop.add_prepare, loop.add_check, loop.add_idle):
        weak = add(print, ref=False)
        assert not loop.is_alive()
        strong = add(lambda: None)
        assert loop.is_alive()
        strong.cancel()
        assert not loop.is_alive()
        weak.cancel()
    handle = loop.call_at_turn_end(lambda: None)
    assert loop.is_alive()
    handle.cancel()
    now(loop)
    assert not loop.is_alive()


def test_references_count_against_what_the_loop_knows(loop):
    timer = loop.call_later(3600, print)
    loop.unref()
    assert not loop.is_alive()
    assert loop.run_while_alive() is False
    other = loop.call_later(3600, print)
    assert loop.is_alive()
    other.cancel()
    assert not loop.is_alive()
    loop.ref()
    assert loop.is_alive()
    timer.cancel()
    assert not loop.is_alive()


def test_signals_alone_do_not_keep_it_alive(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    now(loop)
    assert not loop.is_alive()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_run_while_alive_ends_with_the_last_thing(loop, pair):
    ours, theirs = pair
    ran = []

    def read():
        ran.append(ours.recv(10))
        loop.remove_reader(ours)

    loop.add_reader(ours, read)
    loop.call_later(0.01, theirs.send, b"x")
    assert loop.run_while_alive() is False
    assert ran == [b"x"]
    assert loop.run_while_alive() is False


def test_run_while_alive_ends_when_a_phase_lets_go(loop):
    """Nothing is left after the callbacks of a phase: no wait begins."""
    loop.ref()
    loop.add_prepare(loop.unref, ref=False)
    assert loop.run_while_alive() is False


def test_run_while_alive_is_stopped(loop):
    loop.call_later(3600, print)
    loop.call_soon(loop.stop)
    assert loop.run_while_alive() is True
    assert loop.turn(0) is True


# -- within another loop ----------------------------------------------------


def test_another_loop_waits_in_its_place(loop, pair):
    """`fileno` and `backend_timeout`, as libuv has them for embedding."""
    ours, theirs = pair
    ran = []

    def outer(until):
        poll = select.poll()
        poll.register(loop.fileno(), select.POLLIN)
        while not until():
            timeout = loop.backend_timeout()
            poll.poll(None if timeout is None else timeout * 1000)
            loop.turn(0)

    assert loop.backend_timeout() is None
    loop.call_soon(ran.append, "soon")
    assert loop.backend_timeout() == 0
    outer(lambda: ran)
    far = loop.call_later(1000, ran.append, "never")
    assert 0 < loop.backend_timeout() <= 1000
    far.cancel()
    loop.call_later(0.01, ran.append, "timer")
    assert loop.backend_timeout() <= 0.01
    outer(lambda: len(ran) == 2)
    loop.add_reader(ours, lambda: ran.append(ours.recv(1)))
    theirs.send(b"x")
    outer(lambda: len(ran) == 3)
    loop.remove_reader(ours)
    thread = threading.Timer(0.01, loop.call_soon_threadsafe, (ran.append, "thread"))
    thread.start()
    outer(lambda: len(ran) == 4)
    thread.join()
    assert ran == ["soon", "timer", b"x", "thread"]
