"""`plait.ThreadPool`: the interface of `multiprocessing.pool.ThreadPool`."""

import concurrent.futures
import gc
import itertools
import logging
import multiprocessing
import threading
import weakref
from concurrent.futures.thread import BrokenThreadPool

import pytest
from programs import run

import plait

LIMIT = 60


@pytest.fixture
def pool():
    with plait.ThreadPool(3) as pool:
        yield pool
        pool.close()
        pool.join()


def inverse(x):
    return 1 // x


def test_apply(pool):
    assert pool.apply(divmod, (7, 3)) == (2, 1)
    assert pool.apply(dict, [], {"a": 1}) == {"a": 1}
    assert pool.apply(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        pool.apply(inverse, (0,))


def test_apply_async(pool):
    go = threading.Event()
    result = pool.apply_async(go.wait, (LIMIT,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(0.01)
    go.set()
    assert result.get(LIMIT) is True
    assert result.successful()


def test_maps_keep_the_order(pool):
    numbers = list(range(2_000))
    squares = [n * n for n in numbers]
    assert pool.map(lambda n: n * n, numbers) == squares
    assert pool.map(lambda n: n * n, iter(numbers), chunksize=7) == squares
    assert pool.starmap(pow, [(n, 2) for n in numbers]) == squares
    assert pool.map_async(lambda n: n * n, numbers).get(LIMIT) == squares
    assert pool.starmap_async(pow, zip(numbers, itertools.repeat(2), strict=False)).get(LIMIT)
    assert list(pool.imap(lambda n: n * n, numbers)) == squares
    assert sorted(pool.imap_unordered(lambda n: n * n, iter(numbers))) == squares
    assert pool.map(abs, []) == []


def test_arguments_and_results_are_the_objects_themselves(pool):
    things = [object() for _ in range(50)]
    assert all(a is b for a, b in zip(pool.map(lambda x: x, things), things, strict=True))


def test_an_endless_input_is_read_as_it_is_needed(pool):
    results = pool.imap(lambda n: 2 * n, itertools.count())
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]
    pool.terminate()


def test_every_item_is_run_and_the_first_failure_raised(pool):
    seen = []

    def work(n):
        seen.append(n)
        return 1 // n

    with pytest.raises(ZeroDivisionError) as caught:
        pool.map(work, [3, 0, 2, 1], chunksize=2)
    assert sorted(seen) == [0, 1, 2, 3]
    trace = caught.value.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert trace.tb_frame.f_code is work.__code__
    results = pool.imap(work, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 1
    with pytest.raises(StopIteration):
        next(results)


def test_callbacks(pool, caplog):
    told = []
    done = threading.Event()

    def tell(value):
        told.append(value)
        done.set()

    pool.apply_async(pow, (2, 5), callback=tell)
    assert done.wait(LIMIT)
    done.clear()
    pool.map_async(inverse, [0], error_callback=tell)
    assert done.wait(LIMIT)
    assert told[0] == 32
    assert type(told[1]) is ZeroDivisionError
    with caplog.at_level(logging.ERROR):
        result = pool.apply_async(int, callback=lambda value: 1 / value)
        result.wait(LIMIT)
    assert result.get(LIMIT) == 0
    assert "exception in a callback" in caplog.text


def test_a_slow_callback_takes_no_thread():
    go, told = threading.Event(), threading.Event()
    with plait.ThreadPool(1) as pool:
        pool.apply_async(int, callback=lambda value: (told.set(), go.wait(LIMIT)))
        assert told.wait(LIMIT)
        assert pool.apply(pow, (2, 3)) == 8
        go.set()


def test_a_callback_may_take_a_lock_that_the_caller_holds(pool):
    lock = threading.Lock()
    with lock:
        # Done before anybody can ask for the callback, some of them.
        results = [
            pool.map_async(
                int, [], callback=lambda _: lock.acquire(timeout=LIMIT) and lock.release()
            )
            for _ in range(50)
        ]
    for result in results:
        result.wait(LIMIT)
        assert result.ready()


def test_terms_count_here_too(pool):
    def spin():
        while True:
            pass

    result = pool.apply_async(plait.task(spin, timeout=0.02, grace=LIMIT))
    with pytest.raises(plait.TaskTimeout):
        result.get(LIMIT)
    slow = plait.task(lambda n: spin() if n == 1 else n, timeout=0.05, grace=LIMIT)
    results = pool.imap(slow, range(3))
    assert next(results) == 0
    with pytest.raises(plait.TaskTimeout):
        next(results)
    assert next(results) == 2


def test_the_initializer_is_called_in_each_thread():
    local = threading.local()

    def set_up(value):
        local.value = value

    with plait.ThreadPool(2, set_up, ("here",)) as pool:
        assert pool.map(lambda _: local.value, range(20), chunksize=1) == ["here"] * 20

    def fail():
        raise OSError("not here")

    with plait.ThreadPool(2, fail) as pool:
        with pytest.raises(BrokenThreadPool) as caught:
            pool.apply(int)
        assert type(caught.value.__cause__) is OSError


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((0,), ValueError), ((-1,), ValueError), ((1, 5), TypeError), (("two",), TypeError)],
)
def test_arguments_are_checked(arguments, error):
    with pytest.raises(error):
        plait.ThreadPool(*arguments)


def test_close_finishes_what_was_accepted():
    pool = plait.ThreadPool(2)
    results = pool.map_async(lambda n: n + 1, range(500), chunksize=1)
    read = pool.imap(lambda n: n + 1, iter(range(500)))
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    pool.close()
    pool.join()
    assert results.ready()
    assert results.get() == list(read) == list(range(1, 501))
    for call in (pool.apply, pool.map_async, pool.imap):
        with pytest.raises(ValueError, match="not running"):
            call(abs, [1])
    with pytest.raises(ValueError, match="not running"), pool:
        pass
    assert not any(thread.is_alive() for thread in pool._pool)


def test_terminate_drops_what_has_not_begun_and_lets_the_rest_be():
    begun, go = threading.Event(), threading.Event()
    pool = plait.ThreadPool(1)

    def work():
        begun.set()
        return go.wait(LIMIT)

    running = pool.apply_async(work)
    waiting = pool.apply_async(int)
    mapped = pool.map_async(int, range(9))
    assert begun.wait(LIMIT)
    pool.terminate()
    with pytest.raises(concurrent.futures.CancelledError):
        waiting.get(LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        mapped.get(LIMIT)
    assert not running.ready()
    go.set()
    assert running.get(LIMIT) is True
    pool.join()


def test_one_that_nobody_holds_is_terminated():
    pool = plait.ThreadPool(1)
    gone = weakref.ref(pool)
    result = pool.apply_async(int)
    assert result.get(LIMIT) == 0
    threads = pool._pool
    with pytest.warns(ResourceWarning, match="unclosed running"):
        del pool
        gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_a_forked_child_cannot_use_it():
    program = """
        import os, plait
        pool = plait.ThreadPool(1)
        assert pool.apply(int) == 0
        if os.fork() == 0:
            try:
                pool.apply(int)
            except RuntimeError as error:
                assert "forked from" in str(error)
                pool.terminate()
                pool.join()
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert pool.apply(int) == 0
        pool.terminate()
    """
    assert run(program) == (0, "", "")


@pytest.mark.parametrize("work", ["time.sleep(3600)", "spin()", "queue.SimpleQueue().get()"])
def test_the_interpreter_does_not_wait_for_what_runs(work):
    program = f"""
        import plait, queue, threading, time
        begun = threading.Barrier(3)

        def spin():
            while True:
                pass

        def work():
            begun.wait()
            {work}

        pool = plait.ThreadPool(3)
        pool.apply(int)
        for _ in range(2):
            pool.apply_async(work)
        dropped = pool.map_async(abs, [1] * 5, chunksize=1)
        begun.wait(30)
        pool.close()
        del pool
    """
    assert run(program) == (0, "", "")


def test_it_does_not_pickle(pool):
    with pytest.raises(NotImplementedError, match="cannot be passed"):
        pool.__reduce__()
    assert repr(pool) == "<plait._thread_pool.ThreadPool state=RUN pool_size=3>"
