"""`Pool.terminate` under way: nobody who waits for a result waits for ever.

As `multiprocessing.Pool.terminate` otherwise, after which who waits does so for good.
"""

import concurrent.futures
import queue
import threading

import pytest
from tasks import meet, wait_for_file

import plait

LIMIT = 60
ENDS = (plait.WorkerDied, concurrent.futures.CancelledError)


def in_thread(fn):
    """Call a function in a thread; return a future of what it raises or returns."""
    future: concurrent.futures.Future[object] = concurrent.futures.Future()

    def run():
        try:
            future.set_result(fn())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@pytest.fixture
def busy(tmp_path):
    """Return a pool whose only process works at a call that does not end, and its result."""
    with plait.Pool(1) as pool:
        result = pool.apply_async(meet, (tmp_path / "begun", tmp_path / "never"))
        wait_for_file(tmp_path / "begun")
        yield pool, result


def test_all_who_wait_hear_of_it(busy):
    pool, running = busy
    told: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    called_back = [
        pool.apply_async(abs, (1,), error_callback=told.put),
        pool.map_async(abs, range(100), error_callback=told.put),
    ]
    unordered, ordered = pool.imap_unordered(abs, range(9)), pool.imap(abs, range(9))
    waits = [lambda result=result: result.get() for result in (running, *called_back)]
    waits += [lambda results=results: next(results) for results in (unordered, ordered)]
    waits += [lambda: pool.map(abs, range(9)), lambda: pool.apply(abs, (1,))]
    waiters = [in_thread(wait) for wait in waits]
    pool.terminate()
    errors = [waiter.exception(LIMIT) for waiter in waiters]
    # The last two may come too late to be accepted.
    assert all(isinstance(error, ENDS) for error in errors[:-2]), errors
    assert all(isinstance(error, (*ENDS, ValueError, RuntimeError)) for error in errors[-2:]), (
        errors
    )
    assert [type(told.get(timeout=LIMIT)) for _ in called_back] == 2 * [
        concurrent.futures.CancelledError
    ]
    assert told.empty()
    assert all(result.ready() and not result.successful() for result in (running, *called_back))


def test_many_may_terminate_at_once_and_again(busy):
    pool, running = busy
    for future in [in_thread(pool.terminate) for _ in range(4)]:
        assert future.result(LIMIT) is None
    pool.terminate()
    pool.join()
    with pytest.raises(plait.WorkerDied):
        running.get(LIMIT)
    assert not pool._pool


def test_a_pool_that_is_closed_can_be_terminated(busy):
    pool, running = busy
    mapped = pool.map_async(abs, range(100))
    pool.close()
    joined = in_thread(pool.join)
    pool.terminate()
    assert joined.result(LIMIT) is None
    for result in (running, mapped):
        with pytest.raises(ENDS):
            result.get(LIMIT)
