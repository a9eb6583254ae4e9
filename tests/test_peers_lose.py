"""What other pools lose, and this one does not: each row of that comparison."""

import logging
import os
import signal
import threading
import time
import traceback

import pytest
from tasks import (
    block_signals,
    double,
    hang,
    read_pid,
    sit_in_c,
    swallow,
    timeouts,
    until,
    wait_until_gone,
)

import plait

LIMIT = 60


@pytest.fixture
def pool():
    with plait.ProcessPoolExecutor(2) as pool:
        yield pool


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def nap(n, log):
    # In one piece, whoever else writes.
    with open(log, "ab", buffering=0) as file:
        file.write(f"{n} ".encode())
    time.sleep(0.02)
    return 2 * n


def usable(pool):
    return list(pool.map(double, range(20))) == list(range(0, 40, 2))


def test_one_of_a_hundred_tasks_kills_its_worker(pool):
    assert usable(pool)
    futures = [pool.submit(double, n) for n in range(60)]
    futures.insert(30, pool.submit(kill_self))
    futures += [pool.submit(double, n) for n in range(60, 99)]
    errors = [future.exception(LIMIT) for future in futures]
    assert [type(error) for error in errors if error is not None] == [plait.WorkerDied]
    results = [future.result() for future, error in zip(futures, errors, strict=True) if not error]
    assert sorted(results) == list(range(0, 198, 2))
    assert usable(pool)


def test_a_worker_killed_every_tenth_of_a_second_during_two_hundred_tasks(pool, tmp_path):
    told = []
    futures = [pool.submit(nap, n, tmp_path / "begun") for n in range(200)]
    for future in futures:
        future.add_done_callback(told.append)
    pause = threading.Event()
    # As many as fit into the time that it takes here: on a busy machine it takes longer, and more
    # would be another test.
    for kills in range(20):
        if all(future.done() for future in futures):
            break
        serving = [
            each.pid
            for each in pool.statistics().workers
            if each.activity == "busy" and each.pid is not None
        ]
        if serving:
            try:
                os.kill(serving[kills % len(serving)], signal.SIGKILL)
            except ProcessLookupError:
                continue
        pause.wait(0.1)
    errors = [future.exception(LIMIT) for future in futures]
    assert {type(error) for error in errors} <= {type(None), plait.WorkerDied}
    survived = [n for n, error in enumerate(errors) if error is None]
    assert [futures[n].result() for n in survived] == [2 * n for n in survived]
    assert len(survived) >= 180
    # None was begun twice, and only such were lost as may have been begun.
    begun = (tmp_path / "begun").read_text().split()
    assert len(set(begun)) == len(begun)
    assert {str(n) for n in survived} <= set(begun)
    assert usable(pool)
    until(lambda: len(told) == 200, "every callback")
    assert len(set(told)) == 200


def test_an_idle_worker_killed_and_then_twenty_tasks(pool):
    assert usable(pool)
    for pid in pool._pool.pids():
        os.kill(pid, signal.SIGKILL)
        futures = [pool.submit(double, n) for n in range(20)]
        assert [future.result(LIMIT) for future in futures] == list(range(0, 40, 2))


@pytest.mark.parametrize(
    ("fn", "by_force"), [(hang, False), (block_signals, True), (swallow, True), (sit_in_c, True)]
)
def test_a_hung_task_ends_at_its_deadline(pool, tmp_path, fn, by_force):
    begun, grace = tmp_path / "begun", 0.2 if by_force else LIMIT
    for timeout in timeouts(0.5):
        future = pool.submit(plait.task(fn, timeout=timeout, grace=grace), begun)
        error = future.exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        # On a busy machine it may have been too late to begin.
        if begun.exists():
            break
    assert isinstance(error, TimeoutError)
    assert timeout <= error.elapsed < LIMIT
    assert (error.pid, error.worker_killed) == (read_pid(begun), by_force)
    if by_force:
        wait_until_gone(error.pid)
    assert usable(pool)


@pytest.mark.parametrize(("fn", "by_force"), [(hang, False), (block_signals, True)])
def test_a_running_task_is_cancelled(pool, tmp_path, fn, by_force):
    future = pool.submit(plait.task(fn, grace=0.2 if by_force else LIMIT), tmp_path / "begun")
    read_pid(tmp_path / "begun")
    assert future.cancel()
    error = future.exception(LIMIT)
    assert (type(error), error.worker_killed) == (plait.Killed, by_force)
    assert not future.cancelled()
    assert usable(pool)


LOCK = threading.Lock()


def take_locks():
    return [lock.acquire(timeout=LIMIT) for lock in (LOCK, logging.lastResort.lock)]


def test_a_lock_that_another_thread_holds_when_workers_start_is_free_there():
    held, free = threading.Event(), threading.Event()

    def hold():
        with LOCK, logging.lastResort.lock:
            held.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with plait.ProcessPoolExecutor(2) as pool:
            assert pool.submit(take_locks).result(LIMIT) == [True] * 2
        with plait.Pool(2) as pool:
            assert pool.apply_async(take_locks).get(LIMIT) == [True] * 2
    finally:
        free.set()
        thread.join()


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class UnpicklableLookup(LookupError):
    def __reduce__(self):
        raise TypeError("no, not me")


class Unbuildable(Exception):
    """Can be pickled, and not unpickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raise_it(kind, *args):
    raise kind(*args)


@pytest.mark.parametrize(
    ("kind", "args", "text"),
    [
        (Unpicklable, ("a text",), "a text"),
        (UnpicklableLookup, ("a text",), "a text"),
        (Unbuildable, ("this", "that"), "this and that"),
    ],
)
def test_an_exception_that_cannot_be_pickled(pool, kind, args, text):
    error = pool.submit(raise_it, kind, *args).exception(LIMIT)
    told = "".join(traceback.format_exception(error))
    assert kind.__name__ in told
    assert text in told
    assert "in raise_it" in told
    assert usable(pool)


@pytest.mark.parametrize("how", ["map", "imap", "imap_unordered"])
def test_fifty_thousand_items_into_a_lazy_map(how):
    taken, hold = 0, threading.Event()

    def items():
        nonlocal taken
        for n in range(50_000):
            taken = n + 1
            yield n

    pools = plait.ProcessPoolExecutor(2) if how == "map" else plait.Pool(2)
    with pools as pool:
        results = getattr(pool, how)(double, items())
        assert next(results) in (range(0, 100_000, 2) if how == "imap_unordered" else (0,))
        hold.wait(0.2)  # a while for who reads ahead, and nobody takes results
        assert taken < 25_000
        assert len(list(results)) == 49_999


def test_lambdas_and_closures(pool):
    factor = 3
    assert pool.submit(lambda n: n + 1, 1).result(LIMIT) == 2
    assert list(pool.map(lambda n: factor * n, range(3))) == [0, 3, 6]

    def nested(n):
        return n if n < 2 else nested(n - 1) + nested(n - 2)

    assert pool.submit(nested, 10).result(LIMIT) == 55
    with plait.Pool(2) as other:
        assert other.map(lambda n: factor * n, range(3)) == [0, 3, 6]
