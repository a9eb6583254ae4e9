"""`plait.Pool`: the interface of `multiprocessing.Pool`, and where it goes further."""

import concurrent.futures
import gc
import itertools
import logging
import multiprocessing
import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.pool import MaybeEncodingError

import pytest
from tasks import meet, until, wait_for_file

import plait

LIMIT = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[plait.Pool]:
    with plait.Pool(2) as pool:
        yield pool


def inverse(x):
    return 1 // x


def test_apply(pool):
    assert pool.apply(divmod, (7, 3)) == (2, 1)
    assert pool.apply(dict, (), {"a": 1}) == {"a": 1}
    assert pool.apply(lambda: "a lambda travels") == "a lambda travels"
    with pytest.raises(ZeroDivisionError):
        pool.apply(inverse, (0,))


def test_apply_async(pool, tmp_path):
    result = pool.apply_async(wait_for_file, (tmp_path / "go",))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    result.wait(0.01)
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(0.01)
    (tmp_path / "go").touch()
    assert result.get(LIMIT) == "go"
    assert result.ready()
    assert result.successful()
    failed = pool.apply_async(inverse, (0,))
    failed.wait(LIMIT)
    assert not failed.successful()


@pytest.mark.parametrize("chunksize", [None, 1, 3, 1_000])
@pytest.mark.parametrize("kind", [list, iter, tuple], ids=["list", "iterator", "tuple"])
def test_maps(pool, chunksize, kind):
    numbers = range(200)
    negated = [-n for n in numbers]
    assert pool.map(operator.neg, kind(numbers), chunksize) == negated
    assert pool.map_async(operator.neg, kind(numbers), chunksize).get(LIMIT) == negated
    assert list(pool.imap(operator.neg, kind(numbers), chunksize)) == negated
    unordered = pool.imap_unordered(operator.neg, kind(numbers), chunksize)
    assert sorted(unordered) == sorted(negated)
    pairs = [(n, 2) for n in numbers]
    powers = [n**2 for n in numbers]
    assert pool.starmap(pow, kind(pairs), chunksize) == powers
    assert pool.starmap_async(pow, kind(pairs), chunksize).get(LIMIT) == powers


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_maps_of_nothing(pool, kind):
    assert pool.map(abs, kind([])) == []
    assert pool.starmap_async(abs, kind([])).get(LIMIT) == []
    assert list(pool.imap(abs, kind([]))) == []
    assert list(pool.imap_unordered(abs, kind([]))) == []


def test_a_bad_chunksize_is_refused(pool):
    for method in (pool.map, pool.imap, pool.imap_unordered, pool.map_async):
        with pytest.raises(ValueError, match="Chunksize"):
            method(abs, [1], 0)
    assert pool.map(abs, [-1]) == [1]


def test_a_map_runs_every_item_and_raises_the_first_exception(pool, tmp_path):
    def touch(n):
        (tmp_path / str(n)).touch()
        if n in (3, 7):
            raise ValueError(f"at {n}")

    for chunksize in (None, 5):
        with pytest.raises(ValueError, match="at 3"):
            pool.map(touch, range(10), chunksize)
        assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(10))
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.parametrize("chunksize", [None, 1, 10])
def test_an_iterator_goes_on_behind_an_exception(pool, chunksize):
    results = pool.imap(inverse, [1, 0, 1, 0], chunksize)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def test_an_exception_of_the_input(pool):
    def items():
        yield from range(7)
        raise KeyError("input")

    with pytest.raises(KeyError, match="input"):
        pool.map(abs, items())
    results = pool.imap(abs, items())
    assert list(itertools.islice(results, 7)) == list(range(7))
    with pytest.raises(KeyError, match="input"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    unordered = pool.imap_unordered(abs, items())
    got = []
    with pytest.raises(KeyError, match="input"):
        got.extend(iter(unordered.next, None))
    got += unordered
    assert sorted(got) == list(range(7))
    # As in `multiprocessing`, it takes the chunk along that was being read.
    results = pool.imap(abs, items(), 4)
    assert list(itertools.islice(results, 4)) == [0, 1, 2, 3]
    with pytest.raises(KeyError, match="input"):
        next(results)


def test_next_can_time_out(pool, tmp_path):
    results = pool.imap(wait_for_file, [tmp_path / "go"])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    (tmp_path / "go").touch()
    assert results.next(timeout=LIMIT) == "go"
    unordered = pool.imap_unordered(wait_for_file, [tmp_path / "again"])
    with pytest.raises(multiprocessing.TimeoutError):
        unordered.next(0.01)
    (tmp_path / "again").touch()
    assert unordered.next(LIMIT) == "again"


def test_unordered_results_come_as_they_end(pool, tmp_path):
    paths = [tmp_path / "late", tmp_path / "early"]
    paths[1].touch()
    results = pool.imap_unordered(wait_for_file, paths, 1)
    assert next(results) == "early"
    paths[0].touch()
    assert list(results) == ["late"]


def test_an_input_without_end_is_read_in_the_background(pool):
    threads = set()
    taken = itertools.count()
    last = 0

    def items():
        nonlocal last
        for last in taken:
            threads.add(threading.get_ident())
            yield last

    for method in (pool.imap, pool.imap_unordered):
        results = method(abs, items())
        assert len([next(results) for _ in range(100)]) == 100
        assert last < 100_000
    assert threading.get_ident() not in threads


def test_a_slow_input_does_not_keep_results_back(pool):
    go = threading.Event()

    def items():
        yield -1
        assert go.wait(LIMIT)
        yield -2

    results = pool.imap(abs, items())
    assert next(results) == 1
    go.set()
    assert list(results) == [2]


def test_callbacks_come_before_the_result_is_ready(pool):
    called = []
    pool.apply_async(abs, (-1,), callback=called.append).wait(LIMIT)
    assert called == [1]
    pool.map_async(abs, [-1, -2], callback=called.append).wait(LIMIT)
    assert called == [1, [1, 2]]
    result = pool.map_async(inverse, [0, 1], error_callback=called.append)
    result.wait(LIMIT)
    assert isinstance(called[2], ZeroDivisionError)
    failed = pool.apply_async(inverse, (0,), callback=called.append, error_callback=called.append)
    failed.wait(LIMIT)
    assert isinstance(called[3], ZeroDivisionError)
    assert len(called) == 4


def test_what_a_callback_raises_is_logged(pool, caplog):
    def fail(result):
        raise KeyError(f"in the callback of {result}")

    with caplog.at_level(logging.ERROR):
        assert pool.apply_async(abs, (-1,), callback=fail).get(LIMIT) == 1
    assert "in the callback of 1" in caplog.text


def test_what_cannot_be_pickled(pool):
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.map(abs, [1, threading.Lock(), 2])
    results = pool.imap(abs, [1, threading.Lock(), 2])
    assert next(results) == 1
    with pytest.raises(TypeError, match="cannot pickle"):
        next(results)
    assert next(results) == 2


def make_lock(n):
    return threading.Lock() if n == 1 else n


def test_a_result_that_cannot_be_pickled_is_told_as_by_the_standard_pool(pool):
    with pytest.raises(MaybeEncodingError, match="cannot pickle") as told:
        pool.apply(make_lock, (1,))
    assert isinstance(told.value.__cause__, TypeError)
    assert told.value.value.startswith("<unlocked _thread.lock object")
    results = pool.imap(make_lock, [0, 1, 2], chunksize=3)
    assert next(results) == 0
    with pytest.raises(MaybeEncodingError):
        next(results)
    assert next(results) == 2


def test_bad_arguments_are_refused_as_by_the_standard_pool():
    for processes in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            plait.Pool(processes)
    for tasks in (0, -1, 0.5, "12"):
        with pytest.raises(ValueError, match="positive int or None"):
            plait.Pool(1, maxtasksperchild=tasks)
    with pytest.raises(TypeError, match="callable"):
        plait.Pool(1, initializer=1)


def test_all_processes_are_started_and_initialized_at_once(tmp_path):
    def touch(folder):
        (folder / str(os.getpid())).touch()

    pool = plait.Pool(3, touch, (tmp_path,))
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 3


def test_an_initializer_that_fails_breaks_the_pool():
    broken = pytest.raises(concurrent.futures.BrokenExecutor, match="initializer")
    with plait.Pool(1, inverse, (0,)) as pool, broken:
        pool.apply(abs, (1,))


def test_processes_are_replaced_after_their_tasks():
    with plait.Pool(2, maxtasksperchild=3) as pool:
        pids = pool.map(lambda _: os.getpid(), range(30), chunksize=1)
    assert max(map(pids.count, pids)) <= 3
    assert len(set(pids)) >= 10


def test_a_process_that_retires_ends_properly(tmp_path):
    def leave_a_note(path):
        import atexit

        atexit.register(path.touch)

    with plait.Pool(1, maxtasksperchild=1) as pool:
        pool.apply(leave_a_note, (tmp_path / "left",))
        until((tmp_path / "left").exists)


def test_a_dead_process_fails_its_task_and_is_replaced(pool):
    with pytest.raises(plait.WorkerDied):
        pool.apply(os._exit, (3,))
    before = {process.pid for process in pool._pool}
    os.kill(next(iter(before)), signal.SIGKILL)
    until(lambda: {process.pid for process in pool._pool} - before)
    assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))


def test_close_finishes_what_was_accepted(tmp_path):
    pool = plait.Pool(2)
    results = [
        pool.map_async(abs, range(-3_000, 0)),
        pool.apply_async(wait_for_file, (tmp_path / "go",)),
    ]
    listed = pool.imap(abs, range(-50_000, 0))
    read = pool.imap_unordered(abs, iter(range(-50_000, 0)))
    pool.close()
    for call in (pool.apply, pool.map, pool.imap, pool.starmap_async, pool.imap_unordered):
        with pytest.raises(ValueError, match="not running"):
            call(abs, [1])
    (tmp_path / "go").touch()
    pool.join()
    assert results[0].get(0) == list(range(3_000, 0, -1))
    assert results[1].get(0) == "go"
    assert list(listed) == list(range(50_000, 0, -1))
    assert sorted(read) == list(range(1, 50_001))


def test_join_wants_a_pool_that_ends(pool):
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_terminate_ends_what_runs(tmp_path):
    pool = plait.Pool(1)
    running = pool.apply_async(meet, (tmp_path / "begun", tmp_path / "never"))
    wait_for_file(tmp_path / "begun")
    waiting = pool.apply_async(abs, (1,))
    mapped = pool.map_async(abs, range(10_000))
    endless = pool.imap(abs, itertools.count())
    pids = [process.pid for process in pool._pool]
    pool.terminate()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        running.get(LIMIT)
    for result in (waiting, mapped):
        with pytest.raises(concurrent.futures.CancelledError):
            result.get(LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        list(endless)
    pool.join()


def test_leaving_the_block_terminates(tmp_path):
    with plait.Pool(1) as pool:
        running = pool.apply_async(meet, (tmp_path / "begun", tmp_path / "never"))
        wait_for_file(tmp_path / "begun")
    with pytest.raises(concurrent.futures.BrokenExecutor):
        running.get(LIMIT)
    with pytest.raises(ValueError, match="not running"), pool:
        pass


def test_a_callback_may_terminate():
    pool = plait.Pool(1)
    pool.apply_async(inverse, (0,), error_callback=lambda error: pool.terminate()).wait(LIMIT)
    pool.join()
    assert not pool._pool


def test_a_pool_that_nobody_holds_warns_and_ends():
    pool = plait.Pool(1)
    pool.apply(abs, (1,))
    [process] = pool._pool
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
        gc.collect()
    process.join(LIMIT)
    assert not process.is_alive()


def test_the_exit_of_the_interpreter_does_not_wait():
    program = """if 1:
        import plait, time
        pool = plait.Pool(1)
        pool.apply(abs, (1,))
        pool.apply_async(time.sleep, (3600,))
    """
    subprocess.run([sys.executable, "-c", program], timeout=LIMIT, check=True)


def test_it_cannot_be_pickled(pool):
    with pytest.raises(NotImplementedError, match="cannot be passed"):
        pickle.dumps(pool)


def test_it_says_how_it_is(pool):
    assert repr(pool) == "<plait._pool.Pool state=RUN pool_size=2>"
    result = pool.apply_async(abs, (1,))
    assert "AsyncResult" in repr(result)
    assert result.get(LIMIT) == 1
