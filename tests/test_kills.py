"""Cancelling a task that runs stops it; SIGTERM from anybody else ends the worker."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import signal
import time

import pytest
import tasks
from tasks import LIMIT, double, read_pid, wait_for_file, wait_until_gone, write

import plait


def patient(fn):
    """Give a task a grace that no load makes too short."""
    return plait.task(fn, grace=LIMIT)


@pytest.fixture
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("fn", [tasks.hang, tasks.doze])
def test_a_running_task_is_stopped(pool, tmp_path, fn):
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    future = pool.submit(patient(fn), begun, cleaned)
    pid = read_pid(begun)
    assert future.cancel()
    error = future.exception(LIMIT)
    assert type(error) is plait.Killed
    assert isinstance(error, concurrent.futures.CancelledError)
    assert not isinstance(error, asyncio.CancelledError)
    assert fn.__name__ in str(error)
    assert (error.pid, error.worker_killed) == (pid, False)
    assert f"in {fn.__name__}" in error.__notes__[0]
    assert read_pid(cleaned) == pid
    # It did not fail to run, and ended with an exception.
    assert future.done()
    assert not future.cancelled()
    assert not future.cancel()
    assert pool.submit(os.getpid).result(LIMIT) == pid


@pytest.mark.parametrize(
    "fn", [tasks.block_signals, tasks.swallow, tasks.sit_in_c], ids=lambda fn: fn.__name__
)
def test_one_that_does_not_stop_is_killed(pool, tmp_path, fn):
    future = pool.submit(fn, tmp_path / "begun")
    behind = [pool.submit(double, n) for n in range(5)]
    pid = read_pid(tmp_path / "begun")
    start = time.monotonic()
    assert future.cancel()
    assert future.cancel()  # asked for twice: still the same
    error = future.exception(LIMIT)
    assert time.monotonic() - start >= 0.2
    assert type(error) is plait.Killed
    assert (error.pid, error.worker_killed) == (pid, True)
    assert [future.result(LIMIT) for future in behind] == [0, 2, 4, 6, 8]


def test_what_has_not_begun_is_cancelled(pool, tmp_path):
    first = pool.submit(tasks.wait_for, tmp_path / "end", 1)
    ran = tmp_path / "ran"
    waiting = [pool.submit(write, ran) for _ in range(4)]
    assert all(future.cancel() for future in waiting)
    assert all(future.cancelled() for future in waiting)
    write(tmp_path / "end")
    assert first.result(LIMIT) == 1
    assert pool.submit(double, 1).result(LIMIT) == 2
    assert not ran.exists()


def test_a_cancel_during_a_deadlines_grace_wins(pool, tmp_path):
    fn = plait.task(tasks.swallow, timeout=0.1, grace=30, retries=5)
    future = pool.submit(fn, tmp_path / "begun", tmp_path / "stopped")
    # Past the deadline: until then a cancel is any other's.
    wait_for_file(tmp_path / "stopped")
    assert future.cancel()
    os.kill(read_pid(tmp_path / "begun"), signal.SIGKILL)
    assert type(future.exception(LIMIT)) is plait.Killed


def test_its_own_grace_counts(pool, tmp_path):
    future = pool.submit(plait.task(tasks.swallow, grace=0), tmp_path / "begun")
    wait_for_file(tmp_path / "begun")
    assert future.cancel()
    assert future.exception(LIMIT).worker_killed


def test_waiters_of_every_kind_see_the_end(pool, tmp_path):
    future = pool.submit(tasks.hang, tmp_path / "begun")
    told = []
    future.add_done_callback(told.append)
    wait_for_file(tmp_path / "begun")
    assert future.cancel()
    done, _ = concurrent.futures.wait([future], LIMIT)
    assert done == {future}
    assert list(concurrent.futures.as_completed([future], LIMIT)) == [future]
    with pytest.raises(plait.Killed):
        future.result(LIMIT)
    deadline = time.monotonic() + LIMIT
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert told == [future]


def test_cancelling_a_coroutine_that_awaits_it(pool, tmp_path):
    async def main():
        waiting = asyncio.ensure_future(awaits(pool.submit(patient(tasks.hang), *paths)))
        await asyncio.to_thread(wait_for_file, paths[0])
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def awaits(future):
        return await future

    paths = tmp_path / "begun", tmp_path / "cleaned"
    asyncio.run(main())
    wait_for_file(paths[1])
    assert pool.submit(double, 1).result(LIMIT) == 2


@pytest.mark.parametrize("how", ["await", "wrap_future", "run_in_executor"])
def test_wait_for_stops_it(pool, tmp_path, how):
    async def main():
        if how == "run_in_executor":
            waiting = asyncio.get_running_loop().run_in_executor(pool, patient(tasks.hang), *paths)
        else:
            waiting = pool.submit(patient(tasks.hang), *paths)
            if how == "wrap_future":
                waiting = asyncio.wrap_future(waiting)
        await asyncio.to_thread(wait_for_file, paths[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.01)

    paths = tmp_path / "begun", tmp_path / "cleaned"
    asyncio.run(main())
    wait_for_file(paths[1])
    assert pool.submit(double, 1).result(LIMIT) == 2


def test_a_group_hears_of_a_kill(pool, tmp_path):
    """A child that ended by `asyncio.CancelledError` would be dropped silently."""

    async def child(future):
        return await future

    async def main():
        future = pool.submit(tasks.hang, tmp_path / "begun")
        async with asyncio.TaskGroup() as group:
            group.create_task(child(future))
            await asyncio.to_thread(wait_for_file, tmp_path / "begun")
            assert future.cancel()
            await asyncio.sleep(LIMIT)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [type(error) for error in caught.value.exceptions] == [plait.Killed]


def test_cancels_that_race_with_the_end_hit_no_other():
    def short(n):
        # Ever longer, where nothing is cancelled in time.
        end = time.monotonic() + n % 10 * max(1e-4, (n - 300) * 1e-5)
        while time.monotonic() < end:
            pass
        return n

    # What is imported first takes its time, and is not interrupted.
    raced = patient(short)
    with plait.ProcessPoolExecutor(2) as pool:
        pool.submit(double, 1).result(LIMIT)
        killed = 0
        for n in itertools.count():
            if n >= 300 and killed:
                break
            future, other = pool.submit(raced, n), pool.submit(double, n)
            for _ in range(n % 7):
                os.sched_yield()
            answer = future.cancel()
            assert other.result(LIMIT) == 2 * n
            if future.cancelled():
                assert answer, repr(future.exception())
            elif future.exception(LIMIT) is None:
                assert not answer, "a cancel that was accepted came to nothing"
                assert future.result() == n
            else:
                assert answer, repr(future.exception())
                assert type(future.exception()) is plait.Killed
                assert not future.exception().worker_killed
                killed += 1


def test_a_second_program_is_killed_with_the_worker(pool, tmp_path):
    def start():
        new, pid = tmp_path / "new", tmp_path / "pid"
        os.system(f"echo $$ > {new}; mv {new} {pid}; sleep 1000")

    future = pool.submit(start)
    child = read_pid(tmp_path / "pid")
    assert future.cancel()
    assert future.exception(LIMIT).worker_killed
    wait_until_gone(child)


@pytest.mark.parametrize("fn", [tasks.hang, tasks.sit_in_c, tasks.swallow])
def test_sigterm_from_elsewhere_ends_the_worker(pool, tmp_path, fn):
    future = pool.submit(fn, tmp_path / "begun")
    os.kill(read_pid(tmp_path / "begun"), signal.SIGTERM)
    error = future.exception(LIMIT)
    assert type(error) is plait.WorkerDied
    assert error.signal == signal.SIGTERM


def test_sigterm_from_elsewhere_ends_an_idle_worker(pool):
    pid = pool.submit(os.getpid).result(LIMIT)
    os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(plait.WorkerDied):
        pool.submit(double, 1).result(LIMIT)
    assert pool.submit(os.getpid).result(LIMIT) != pid


def test_a_process_that_the_task_forks_can_be_terminated(pool):
    def fork_and_terminate():
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert pool.submit(fork_and_terminate).result(LIMIT) == -signal.SIGTERM


def test_a_task_with_a_handler_of_its_own_is_killed(pool, tmp_path):
    def deaf():
        signal.signal(signal.SIGTERM, lambda *_: None)
        tasks.hang(tmp_path / "begun")

    future = pool.submit(deaf)
    wait_for_file(tmp_path / "begun")
    assert future.cancel()
    assert future.exception(LIMIT).worker_killed


def test_a_shutdown_waits_for_a_stop(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        future = pool.submit(patient(tasks.hang), tmp_path / "begun", tmp_path / "cleaned")
        wait_for_file(tmp_path / "begun")
        assert future.cancel()
    assert type(future.exception(0)) is plait.Killed
    assert (tmp_path / "cleaned").exists()


def test_a_future_is_stopped_when_its_pool_is_gone(tmp_path):
    pool = plait.ProcessPoolExecutor(1)
    future = pool.submit(tasks.hang, tmp_path / "begun")
    wait_for_file(tmp_path / "begun")
    pool.shutdown(wait=False)
    del pool
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
