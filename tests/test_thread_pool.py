"""plait.ThreadPoolExecutor."""

import asyncio
import concurrent.futures as cf
import concurrent.futures.thread
import contextvars
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from tasks import until

import plait
from plait import _crew

LIMIT = 30.0


class Boom(Exception):
    pass


@pytest.fixture
def pool():
    with plait.ThreadPoolExecutor(4) as pool:
        yield pool


def join(threads):
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


# What it takes


def test_is_a_standard_executor(pool):
    assert isinstance(pool, cf.Executor)
    assert isinstance(pool, cf.ThreadPoolExecutor)
    assert isinstance(pool.submit(int), plait.Future)


@pytest.mark.parametrize("number", [0, -1])
def test_too_few_workers(number):
    with pytest.raises(ValueError, match=f"max_workers must be greater than 0, not {number}"):
        plait.ThreadPoolExecutor(number)


@pytest.mark.parametrize("number", ["2", 2.0, [2]])
def test_workers_that_are_no_number(number):
    with pytest.raises(TypeError, match="max_workers must be an integer or None"):
        plait.ThreadPoolExecutor(number)


def test_an_initializer_that_cannot_be_called():
    with pytest.raises(TypeError, match="initializer must be a callable"):
        plait.ThreadPoolExecutor(initializer=5)


def test_the_default_number_of_workers():
    pool = plait.ThreadPoolExecutor()
    count = getattr(os, "process_cpu_count", os.cpu_count)()
    assert pool._max_workers == min(32, count + 4)
    assert pool._threads == set()


# Calls


def test_arguments_values_and_errors(pool):
    def call(*args, **kwargs):
        return args, kwargs

    def fail():
        raise Boom("from the task")

    assert pool.submit(call, 1, 2, fn=3, self=4).result(LIMIT) == ((1, 2), {"fn": 3, "self": 4})
    assert pool.submit(call).result(LIMIT) == ((), {})
    with pytest.raises(Boom, match="from the task") as raised:
        pool.submit(fail).result(LIMIT)
    assert raised.traceback[-1].name == "fail"
    with pytest.raises(TypeError, match="not callable"):
        pool.submit(5).result(LIMIT)


def test_no_exception_of_a_task_ends_a_worker():
    def fail(kind):
        raise kind("x")

    with plait.ThreadPoolExecutor(1) as pool:
        worker = pool.submit(threading.get_ident).result(LIMIT)
        for kind in (Boom, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration):
            error = pool.submit(fail, kind).exception(LIMIT)
            assert type(error) is kind
        assert pool.submit(threading.get_ident).result(LIMIT) == worker


def test_map(pool):
    assert list(pool.map(pow, range(20), [2] * 20)) == [n * n for n in range(20)]
    assert list(pool.map(str, range(5), timeout=LIMIT, chunksize=3)) == list("01234")
    results = pool.map(lambda n: 1 // n, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    go_on = threading.Event()
    with pytest.raises(TimeoutError):
        list(pool.map(lambda _: go_on.wait(LIMIT), [1], timeout=0.001))
    go_on.set()


def test_threads_are_started_on_demand_and_used_again(pool):
    for _ in range(50):
        assert pool.submit(pow, 2, 2).result(LIMIT) == 4
        wait_until_idle(pool)
    assert len(pool._threads) == 1
    barrier = threading.Barrier(4)
    assert {f.result(LIMIT) for f in [pool.submit(barrier.wait, LIMIT) for _ in range(4)]} == {
        0,
        1,
        2,
        3,
    }
    assert len(pool._threads) == 4
    assert sum(f.result(LIMIT) for f in [pool.submit(int, 1) for _ in range(200)]) == 200
    assert len(pool._threads) == 4


def wait_until_idle(pool):
    """Until a result is there its worker is not idle yet, and no event says when."""
    deadline = time.monotonic() + LIMIT
    while pool._work_queue.idle() == 0:
        assert time.monotonic() < deadline
        os.sched_yield()


def test_an_idle_pool_uses_no_cpu(pool):
    barrier = threading.Barrier(4)
    for future in [pool.submit(barrier.wait, LIMIT) for _ in range(4)]:
        future.result(LIMIT)
    threads = [thread.native_id for thread in pool._threads]

    def nothing_happens():
        before = [switches(thread) for thread in threads]
        # This is the one thing here that can only be seen by letting time pass.
        time.sleep(0.3)
        return [switches(thread) for thread in threads] == before

    # Whatever else this process does, these do not run: once they are asleep, after their last
    # calls, they are until they are given work.
    until(nothing_happens, "a while in which nothing happens")


def switches(thread):
    """Return how often a thread of this process was given a CPU and left it."""
    text = Path(f"/proc/self/task/{thread}/status").read_text()
    return [int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line]


def test_names(pool):
    named = plait.ThreadPoolExecutor(2, thread_name_prefix="cook")
    barrier = threading.Barrier(2)

    def name():
        barrier.wait(LIMIT)
        return threading.current_thread().name

    assert {f.result(LIMIT) for f in [named.submit(name), named.submit(name)]} == {
        "cook_0",
        "cook_1",
    }
    named.shutdown()
    name = pool.submit(lambda: threading.current_thread().name).result(LIMIT)
    assert name.startswith("ThreadPoolExecutor-")
    assert name.endswith("_0")


def test_context_variables_are_those_of_the_thread(pool):
    variable = contextvars.ContextVar("variable", default="thread")
    variable.set("submitter")
    inherit = getattr(sys.flags, "thread_inherit_context", 0)
    expected = "submitter" if inherit else "thread"
    assert pool.submit(variable.get).result(LIMIT) == expected
    context = contextvars.copy_context()
    assert pool.submit(context.run, variable.get).result(LIMIT) == "submitter"


def test_tasks_and_callbacks_may_submit(pool):
    def nested(depth):
        return depth if depth == 0 else pool.submit(nested, depth - 1)

    future = pool.submit(nested, 5)
    for _ in range(5):
        future = future.result(LIMIT)
    assert future.result(LIMIT) == 0
    inner, done = [], threading.Event()

    def submit_more(_):
        inner.append(pool.submit(int, 7))
        done.set()

    pool.submit(int).add_done_callback(submit_more)
    assert done.wait(LIMIT)
    assert inner[0].result(LIMIT) == 7


def test_a_cancelled_call_is_not_made():
    with plait.ThreadPoolExecutor(1) as pool:
        go_on, calls = threading.Event(), []
        first = pool.submit(go_on.wait, LIMIT)
        second = pool.submit(calls.append, 2)
        third = pool.submit(calls.append, 3)
        assert second.cancel()
        go_on.set()
        third.result(LIMIT)
        assert first.result() is True
        assert calls == [3]
        assert second.cancelled()


def test_a_future_that_was_set_by_hand_keeps_that(pool):
    go_on = threading.Event()
    future = pool.submit(go_on.wait, LIMIT)
    while not future.running():
        os.sched_yield()
    future.set_result("mine")
    go_on.set()
    pool.submit(int).result(LIMIT)
    assert future.result() == "mine"


def test_a_bad_callback_of_a_task_is_logged_and_the_worker_goes_on(caplog):
    def bad(_):
        raise SystemExit("callback")

    with (
        caplog.at_level(logging.ERROR, logger="concurrent.futures"),
        plait.ThreadPoolExecutor(1) as pool,
    ):
        go_on = threading.Event()
        future = pool.submit(go_on.wait, LIMIT)
        future.add_done_callback(bad)
        go_on.set()
        assert pool.submit(int).result(LIMIT) == 0
        assert len(pool._threads) == 1
    assert "callback" in caplog.text


# References


class Thing:
    def method(self):
        return None


def test_a_call_is_forgotten_when_its_result_is_there():
    with plait.ThreadPoolExecutor(1) as pool:
        thing = Thing()
        reference = weakref.ref(thing)
        future = pool.submit(Thing.method, thing)
        del thing
        future.result(LIMIT)
        assert reference() is None
        argument = Thing()
        reference = weakref.ref(argument)
        future = pool.submit(lambda *args, **kwargs: None, argument, key=argument)
        del argument
        future.result(LIMIT)
        assert reference() is None


def test_a_result_that_nobody_keeps_is_freed():
    with plait.ThreadPoolExecutor(1) as pool:
        reference = weakref.ref(pool.submit(Thing).result(LIMIT))
        pool.submit(int).result(LIMIT)
        assert reference() is None


def test_a_queued_call_that_refers_to_its_pool_is_collected():
    pool = plait.ThreadPoolExecutor(1)
    go_on, begun = threading.Event(), threading.Event()

    def block():
        begun.set()
        go_on.wait(LIMIT)

    first = pool.submit(block)
    assert begun.wait(LIMIT)
    thing = Thing()
    reference = weakref.ref(thing)
    last = pool.submit(lambda *_: None, pool, thing)
    threads = list(pool._threads)
    del pool, thing
    gc.collect()
    assert reference() is not None
    go_on.set()
    first.result(LIMIT)
    assert last.result(LIMIT) is None
    gc.collect()
    assert reference() is None
    join(threads)


def test_cycles_of_pools_and_futures_are_collected():
    references = []
    for _ in range(100):
        pool = plait.ThreadPoolExecutor(1)
        future = pool.submit(int)
        future.pool, pool.future = pool, future
        future.add_done_callback(lambda f, pool=pool: pool)
        future.result(LIMIT)
        references += [weakref.ref(pool), weakref.ref(future)]
        threads = list(pool._threads)
        del pool, future
        gc.collect()
        join(threads)
    assert sum(reference() is not None for reference in references) == 0


# The end


def test_submit_after_shutdown(pool):
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(int)
    pool.shutdown()
    assert pool._shutdown


def test_shutdown_waits_for_all():
    pool = plait.ThreadPoolExecutor(2)
    calls = []
    for number in range(20):
        pool.submit(calls.append, number)
    threads = list(pool._threads)
    pool.shutdown()
    assert sorted(calls) == list(range(20))
    assert not any(thread.is_alive() for thread in threads)


def test_shutdown_without_waiting():
    pool = plait.ThreadPoolExecutor(1)
    go_on = threading.Event()
    first, second = pool.submit(go_on.wait, LIMIT), pool.submit(int)
    pool.shutdown(wait=False)
    assert not first.done()
    go_on.set()
    assert (first.result(LIMIT), second.result(LIMIT)) == (True, 0)
    join(pool._threads)


def test_shutdown_cancels_what_has_not_begun():
    pool = plait.ThreadPoolExecutor(1)
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def block():
        begun.set()
        return go_on.wait(LIMIT)

    first = pool.submit(block)
    rest = [pool.submit(int) for _ in range(10)]
    rest[0].add_done_callback(calls.append)
    assert begun.wait(LIMIT)
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in rest)
    assert calls == [rest[0]]
    go_on.set()
    assert first.result(LIMIT) is True
    pool.shutdown()


def test_a_task_cannot_wait_for_its_own_pool():
    pool = plait.ThreadPoolExecutor(1)
    with pytest.raises(RuntimeError, match="cannot wait for the pool to end"):
        pool.submit(pool.shutdown).result(LIMIT)
    pool.shutdown()


def test_ctrl_c_ends_a_shutdown_that_waits():
    pool, go_on = plait.ThreadPoolExecutor(1), threading.Event()
    pool.submit(go_on.wait, LIMIT)
    main, begun, raised = threading.main_thread().ident, threading.Event(), threading.Event()

    def interrupt():
        while not raised.wait(0.01):
            signal.pthread_kill(main, signal.SIGINT)

    def handler(*_):
        if begun.is_set() and not raised.is_set():
            raised.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            begun.set()
            pool.shutdown()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    go_on.set()
    pool.shutdown()


def test_a_pool_that_nobody_holds_finishes_and_ends():
    pool = plait.ThreadPoolExecutor(2)
    go_on, calls = threading.Event(), []
    pool.submit(go_on.wait, LIMIT)
    pool.submit(go_on.wait, LIMIT)
    last = pool.submit(calls.append, "last")
    threads = list(pool._threads)
    del pool
    gc.collect()
    go_on.set()
    last.result(LIMIT)
    join(threads)
    assert calls == ["last"]


def test_submits_race_with_a_shutdown():
    """What is accepted is done; nothing is lost and nothing hangs."""
    for _ in range(30):
        pool = plait.ThreadPoolExecutor(3)
        accepted, done, barrier = [], [], threading.Barrier(4)

        def submit(pool=pool, accepted=accepted, done=done, barrier=barrier):
            barrier.wait(LIMIT)
            try:
                for number in range(1000):
                    accepted.append(pool.submit(done.append, number))
            except RuntimeError as error:
                assert "after shutdown" in str(error)  # noqa: PT017

        threads = [threading.Thread(target=submit) for _ in range(3)]
        for thread in threads:
            thread.start()
        barrier.wait(LIMIT)
        pool.shutdown()
        finished = len(done)
        join(threads)
        assert all(future.done() for future in accepted)
        assert finished == len(done) == len(accepted)


# Initializers


def test_the_initializer_runs_in_each_thread_before_its_calls():
    local, barrier = threading.local(), threading.Barrier(3)

    def set_up(value):
        local.value = value

    def read():
        barrier.wait(LIMIT)
        return local.value

    with plait.ThreadPoolExecutor(3, initializer=set_up, initargs=("set",)) as pool:
        futures = [pool.submit(read) for _ in range(3)]
        assert [future.result(LIMIT) for future in futures] == ["set"] * 3


@pytest.mark.parametrize("kind", [Boom, SystemExit])
def test_an_initializer_that_fails_breaks_the_pool(kind, caplog):
    go_on = threading.Event()

    def set_up():
        go_on.wait(LIMIT)
        raise kind("no set-up")

    pool = plait.ThreadPoolExecutor(2, initializer=set_up)
    futures = [pool.submit(int) for _ in range(5)]
    go_on.set()
    for future in futures:
        error = future.exception(LIMIT)
        assert type(error) is concurrent.futures.thread.BrokenThreadPool
        assert isinstance(error.__cause__, kind)
    with pytest.raises(cf.BrokenExecutor, match="initializer failed"):
        pool.submit(int)
    assert pool._broken
    pool.shutdown()
    assert "Exception in initializer" in caplog.text
    assert "no set-up" in caplog.text


# Threads that cannot be started


def refuse(self):
    raise RuntimeError("can't start new thread")


def test_a_call_that_relied_on_a_thread_of_another_is_not_lost(monkeypatch):
    others = []

    def refuse_when_others_wait(self):
        others.append(pool.submit(int))
        others.append(pool.submit(plait.task(int)))
        refuse(self)

    with plait.ThreadPoolExecutor(1) as pool:
        # A call with terms needs the watcher.
        plait.Thread(target=int).start()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse_when_others_wait)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                pool.submit(int)
        for other in others:
            error = other.exception(LIMIT)
            assert type(error) is RuntimeError
            assert "no thread could be started" in str(error)
            assert "can't start" in str(error.__cause__)
        assert pool.submit(int).result(LIMIT) == 0
        assert pool.statistics().queued == 0
        assert len(others) == 2


def test_a_call_without_a_thread_is_refused(monkeypatch):
    pool = plait.ThreadPoolExecutor(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(int)
    assert pool.submit(int, 5).result(LIMIT) == 5
    pool.shutdown()
    assert len(pool._threads) == 1


def test_a_thread_that_began_in_spite_of_an_interrupt_works(monkeypatch):
    pool, calls = plait.ThreadPoolExecutor(1), []
    start = threading.Thread.start

    def interrupted(self):
        start(self)
        calls.append("started")
        while pool._work_queue.qsize():
            os.sched_yield()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(calls.append, "called")
    assert pool.submit(int, 5).result(LIMIT) == 5
    pool.shutdown()
    assert sorted(calls) == ["called", "started"]


# asyncio


def test_as_the_default_executor_of_a_loop(pool):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        assert name.startswith("ThreadPoolExecutor")
        assert await loop.run_in_executor(None, pow, 2, 5) == 32
        with pytest.raises(Boom):
            await loop.run_in_executor(pool, fail)
        answers = await asyncio.gather(*(loop.run_in_executor(pool, int, n) for n in range(100)))
        assert answers == list(range(100))
        assert await asyncio.gather(*(pool.submit(int, n) for n in range(100))) == answers

    def fail():
        raise Boom

    asyncio.run(main())
    assert pool._shutdown


def test_a_task_that_somebody_stops_awaiting_goes_on(pool):
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def write():
        begun.set()
        go_on.wait(LIMIT)
        calls.append("written")

    async def main():
        future = pool.submit(write)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.001 if begun.wait(LIMIT) else 0)
        assert future.running()
        go_on.set()
        await future

    asyncio.run(main())
    assert calls == ["written"]


# Exit and fork


def run(script, code=0):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    return done.stdout.split()


def test_exit_waits_for_running_and_queued_calls():
    script = """
import plait, sys, threading
exiting = threading.Event()
pool = plait.ThreadPoolExecutor(1)
# Hooks run last in, first out: this one before that of the pools.
threading._register_atexit(exiting.set)
def wait():
    assert exiting.wait(30)
    # In one piece, which print is not.
    sys.stdout.write("first\\n")
pool.submit(wait)
pool.submit(sys.stdout.write, "second\\n")
dropped = plait.ThreadPoolExecutor(1)
dropped.submit(wait)
del dropped
"""
    assert sorted(run(script)) == ["first", "first", "second"]


def test_submit_during_the_exit():
    script = """
import plait, threading
exiting = threading.Event()
pool, idle = plait.ThreadPoolExecutor(1), plait.ThreadPoolExecutor(1)
threading._register_atexit(exiting.set)
def late():
    assert exiting.wait(30)
    for each in (pool, idle):
        while True:
            try:
                each.submit(int)
            except RuntimeError as error:
                print(str(error).replace(" ", "-"))
                break
    try:
        plait.ThreadPoolExecutor(1).submit(int)
    except RuntimeError as error:
        print(str(error).replace(" ", "-"))
pool.submit(late)
"""
    assert run(script) == ["cannot-schedule-new-futures-after-interpreter-shutdown"] * 3


def test_a_forked_child_cannot_use_the_pool_of_its_parent():
    script = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import plait
pool, go_on = plait.ThreadPoolExecutor(2), threading.Event()
pool.submit(int).result()
running = pool.submit(go_on.wait)
pid = os.fork()
if pid == 0:
    try:
        pool.submit(int)
    except RuntimeError as error:
        assert "forked" in str(error), error
    else:
        raise AssertionError
    pool.shutdown()
    with plait.ThreadPoolExecutor(2) as mine:
        assert mine.submit(int, 5).result() == 5
    raise SystemExit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert running.running()
go_on.set()
assert pool.submit(int, 6).result() == 6
"""
    assert run(script) == []


def test_a_pool_that_runs_while_the_process_forks_can_be_dropped_in_the_child():
    script = """
import gc, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import plait
pool = plait.ThreadPoolExecutor(4)
def busy():
    for _ in range(20000): pass
for _ in range(50):
    futures = [pool.submit(busy) for _ in range(8)]
    pid = os.fork()
    if pid == 0:
        gc.collect()
        del pool, futures
        gc.collect()
        raise SystemExit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    assert run(script) == []


def test_the_exit_register_forgets_what_has_ended():
    before = len(_crew._exit._queues), len(_crew._exit._threads)
    for _ in range(20):
        with plait.ThreadPoolExecutor(2) as pool:
            pool.submit(int).result(LIMIT)
    del pool
    gc.collect()
    assert (len(_crew._exit._queues), len(_crew._exit._threads)) <= before
