"""Coroutine functions as tasks of a process pool: run in the worker's own event loop."""

import asyncio
import contextvars
import functools
import gc
import logging
import os
import traceback

import pytest

import plait
from plait._worker import coroutines

LIMIT = 60


@pytest.fixture(scope="module")
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def test_a_coroutine_function_is_run_to_its_end(pool):
    assert pool.submit(double, 21).result(LIMIT) == 42
    assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert pool.submit(functools.partial(double, 4)).result(LIMIT) == 8
    assert pool.submit(lambda: double("a")).result(LIMIT) == "aa"


def test_one_that_is_stopped_before_its_first_step_does_not_warn():
    def stop():
        raise KeyboardInterrupt

    async def never():
        raise AssertionError

    loop = coroutines.event_loop()
    try:
        # In the turn in which it would begin, and before it.
        loop.call_soon(stop)
        with pytest.raises(KeyboardInterrupt):
            coroutines.run(never())
        gc.collect()
        assert coroutines.run(double(1)) == (True, 2)
    finally:
        coroutines.close()


def fork_and_return():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_a_task_forks_leaves_the_loop_alone(pool):
    assert pool.submit(double, 1).result(LIMIT) == 2
    future = pool.submit(plait.task(fork_and_return, capture=True))
    assert future.result(LIMIT) == "parent"
    assert future.output.stderr == ""
    assert pool.submit(double, 2).result(LIMIT) == 4


def test_it_runs_in_a_loop_of_plait_that_is_kept(pool):
    async def loop():
        running = asyncio.get_running_loop()
        return type(running) is plait.EventLoop, id(running), os.getpid()

    first = pool.submit(loop).result(LIMIT)
    assert first[0]
    assert pool.submit(loop).result(LIMIT) == first


async def fail(text):
    await asyncio.sleep(0)
    raise ValueError(text)


def test_its_exception_comes_back_with_its_traceback(pool):
    error = pool.submit(fail, "no").exception(LIMIT)
    assert type(error) is ValueError
    assert str(error) == "no"
    (note,) = error.__notes__
    assert "in fail\n" in note
    # Nothing of ours between.
    assert note.count('File "') == 1, note


def test_a_coroutine_that_is_cancelled_or_exits(pool):
    async def cancelled():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def leave():
        raise SystemExit(3)

    with pytest.raises(asyncio.CancelledError):
        pool.submit(cancelled).result(LIMIT)
    with pytest.raises(SystemExit):
        pool.submit(leave).result(LIMIT)
    assert pool.submit(double, 1).result(LIMIT) == 2


variable = contextvars.ContextVar("variable", default="unset")


def test_each_has_a_context_of_its_own(pool):
    async def change(to):
        before = variable.get()
        variable.set(to)
        await asyncio.sleep(0)
        return before, variable.get()

    assert pool.submit(change, "a").result(LIMIT) == ("unset", "a")
    assert pool.submit(change, "b").result(LIMIT) == ("unset", "b")


def test_what_is_left_behind_goes_on_with_the_next(pool):
    async def leave_behind():
        global left
        left = asyncio.create_task(double(3))

    async def collect():
        return await left

    pool.submit(leave_behind).result(LIMIT)
    assert pool.submit(collect).result(LIMIT) == 6


def test_an_initializer_may_be_one():
    async def prepare(value):
        global prepared
        await asyncio.sleep(0)
        prepared = value

    async def look():
        return prepared

    with plait.ProcessPoolExecutor(1, initializer=prepare, initargs=("ready",)) as pool:
        assert pool.submit(look).result(LIMIT) == "ready"
    with plait.ProcessPoolExecutor(1, initializer=fail, initargs=("unable",)) as pool:
        error = pool.submit(look).exception(LIMIT)
        assert "ValueError: unable" in str(error)


def test_the_loop_ends_with_the_worker(tmp_path):
    async def numbers():
        try:
            yield 1
        finally:
            (tmp_path / "generator").touch()

    async def wait_for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            (tmp_path / "task").touch()

    async def leave_open():
        global kept
        kept = numbers(), asyncio.create_task(wait_for_ever())
        await anext(kept[0])
        await asyncio.sleep(0)

    with plait.ProcessPoolExecutor(1) as pool:
        pool.submit(leave_open).result(LIMIT)
        assert not (tmp_path / "task").exists()
    assert (tmp_path / "generator").exists()
    assert (tmp_path / "task").exists()


def test_a_coroutine_that_cannot_be_pickled_is_not_sent_back(pool):
    # The other kinds of awaitable are results like any other.
    async def agen():
        yield 1

    error = pool.submit(agen).exception(LIMIT)
    assert isinstance(error, TypeError)
    assert "async_generator" in "".join(traceback.format_exception(error))


async def use_engines():
    return await asyncio.to_thread(os.getpid), logging.getLogger("asyncio").name


def test_threads_of_the_loop(pool):
    pid, _ = pool.submit(use_engines).result(LIMIT)
    assert pid == pool.submit(os.getpid).result(LIMIT)
