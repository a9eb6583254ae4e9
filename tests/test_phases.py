"""Callbacks between the steps of a turn: when they run, how they come and go."""

import contextvars
import select
import threading
import time

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


def test_the_order_of_a_turn(loop, pair):
    ours, theirs = pair
    said = []

    def prepare():
        said.append("prepare")
        loop.call_soon(said.append, "from prepare")

    def read():
        said.append(f"read {ours.recv(10)!r}")
        loop.call_at_turn_end(said.append, "close from read")
        loop.call_soon(said.append, "from read")

    def check():
        said.append("check")
        loop.call_soon(said.append, "from check")

    def close():
        said.append("close")
        loop.call_at_turn_end(said.append, "close from close")

    loop.add_idle(said.append, "idle")
    loop.add_prepare(prepare)
    loop.add_check(check)
    loop.add_reader(ours, read)
    loop.call_soon(said.append, "soon")
    loop.call_later(0, said.append, "timer")
    loop.call_at_turn_end(close)
    theirs.send(b"x")
    now(loop)
    assert said == [
        "prepare",
        "check",
        "soon",
        "from prepare",
        "read b'x'",
        "timer",
        "from check",
        "close",
        "close from read",
    ]
    said.clear()
    now(loop)
    assert said == [
        "prepare",
        "check",
        "from read",
        "from prepare",
        "from check",
        "close from close",
    ]


def test_work_made_before_the_poll_ends_its_wait(loop):
    ran = []
    handle = loop.add_prepare(lambda: loop.call_soon(ran.append, 1))
    loop.turn()
    assert ran == [1]
    handle.cancel()


def test_idle_keeps_the_poll_from_waiting_and_runs_when_nothing_else_does(loop):
    ran = []
    idle = loop.add_idle(ran.append, "idle")
    loop.call_soon(ran.append, "soon")
    loop.turn()
    assert ran == ["soon"]
    loop.turn()
    loop.turn()
    assert ran == ["soon", "idle", "idle"]
    idle.cancel()
    begun = loop.time()
    loop.turn(0.01)
    assert loop.time() - begun >= 0.01
    assert ran == ["soon", "idle", "idle"]


def test_what_is_put_off_to_the_end_keeps_the_poll_from_waiting(loop):
    ran = []
    loop.call_at_turn_end(ran.append, "close")
    loop.turn()
    assert ran == ["close"]


@pytest.mark.parametrize("phase", ["prepare", "check", "idle"])
def test_callbacks_come_and_go_within_themselves(loop, phase):
    add = getattr(loop, f"add_{phase}")
    said = []

    def once():
        said.append("once")
        handles["once"].cancel()

    def remover():
        said.append("remover")
        handles["victim"].cancel()

    def adder():
        said.append("adder")
        handles["adder"].cancel()
        handles["added"] = add(said.append, "added")

    handles = {"once": add(once), "remover": add(remover)}
    handles["victim"] = add(said.append, "victim")
    handles["adder"] = add(adder)
    now(loop)
    assert said == ["once", "remover", "adder"]
    said.clear()
    now(loop)
    assert said == ["remover", "added"]
    for handle in handles.values():
        handle.cancel()
    said.clear()
    now(loop)
    assert said == []
    assert not loop.is_alive()


@pytest.mark.parametrize("phase", ["prepare", "check", "idle", "close"])
def test_an_exception_is_reported_and_stops_nothing(loop, phase):
    reports = []
    ran = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    def fail():
        raise ValueError("no")

    add = loop.call_at_turn_end if phase == "close" else getattr(loop, f"add_{phase}")
    handle = add(fail)
    add(ran.append, "second")
    if phase != "idle":
        loop.call_soon(ran.append, "ready")
    now(loop)
    assert sorted(ran) == (["second"] if phase == "idle" else ["ready", "second"])
    (report,) = reports
    assert report["message"].startswith(f"Exception in {phase} callback ")
    assert "fail" in report["message"]
    assert str(report["exception"]) == "no"
    assert report["handle"] is handle


@pytest.mark.parametrize("add", ["add_prepare", "add_check", "add_idle", "call_at_turn_end"])
def test_who_waits_in_the_place_of_the_loop_hears_of_it(loop, add):
    poll = select.poll()
    poll.register(loop.fileno(), select.POLLIN)
    assert loop.backend_timeout() is None
    assert poll.poll(0) == []
    getattr(loop, add)(print)
    assert poll.poll(0)


@pytest.mark.parametrize("add", ["add_idle", "call_at_turn_end"])
def test_one_added_in_another_thread_ends_the_wait(loop, add):
    ran = []
    thread = threading.Thread(target=lambda: getattr(loop, add)(ran.append, add))
    started = time.monotonic()
    thread.start()
    while not ran:
        loop.turn(100)
    assert time.monotonic() - started < 60
    thread.join()
    assert ran[0] == add


def test_phases_run_under_run_forever_too(loop):
    said = []
    loop.add_prepare(said.append, "prepare")
    loop.add_check(said.append, "check")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert said == ["prepare", "check"]


def test_phases_run_in_their_context(loop):
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    seen = []
    for add in (loop.add_prepare, loop.add_check, loop.call_at_turn_end):
        add(lambda: seen.append(variable.get()), context=context)
    now(loop)
    assert seen == ["inside"] * 3


def test_debug_mode_refuses_coroutines_as_callbacks(loop):
    loop.set_debug(True)

    async def coroutine():
        pass

    for add in (loop.add_prepare, loop.add_check, loop.add_idle, loop.call_at_turn_end):
        with pytest.raises(TypeError, match="coroutines cannot be used with"):
            add(coroutine)
