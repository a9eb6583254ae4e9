"""`retries=`: what is tried again, how often, and with what."""

import os
import time

import pytest
import tasks
from tasks import LIMIT, read_pid, wait_for_file
from work import attempts, changes, count, dies, fails, hangs

import plait


@pytest.fixture
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


# A worker that is new imports for its first task.
@pytest.mark.parametrize(("fn", "timeout"), [(fails, None), (dies, None), (hangs, 1)])
def test_a_failure_is_tried_again(pool, tmp_path, fn, timeout):
    task = plait.task(fn, retries=2, timeout=timeout)
    assert pool.submit(task, tmp_path / "log", 2).result(LIMIT) == "at last"
    assert attempts(tmp_path / "log") == 3


@pytest.mark.parametrize(
    ("fn", "timeout", "error"),
    [(fails, None, ValueError), (dies, None, plait.WorkerDied), (hangs, 1, plait.TaskTimeout)],
)
def test_the_last_failure_counts(pool, tmp_path, fn, timeout, error):
    task = plait.task(fn, retries=2, timeout=timeout)
    failure = pool.submit(task, tmp_path / "log", 9).exception(LIMIT)
    assert type(failure) is error
    assert attempts(tmp_path / "log") == 3
    assert "attempt number 3" in failure.__notes__[-1]


@pytest.mark.parametrize("fn", [fails, dies])
def test_nothing_is_tried_again_unless_asked_for(pool, tmp_path, fn):
    failure = pool.submit(plait.task(fn), tmp_path / "log", 9).exception(LIMIT)
    assert attempts(tmp_path / "log") == 1
    assert not any("attempt" in note for note in getattr(failure, "__notes__", ()))


def test_only_the_exceptions_that_were_named(pool, tmp_path):
    task = plait.task(fails, retries=2, retry_on=(OSError, KeyError))
    assert pool.submit(task, tmp_path / "a", 2, KeyError).result(LIMIT) == "at last"
    assert type(pool.submit(task, tmp_path / "b", 2, ValueError).exception(LIMIT)) is ValueError
    assert attempts(tmp_path / "b") == 1
    # A subclass is one of them.
    assert pool.submit(task, tmp_path / "c", 2, ConnectionError).result(LIMIT) == "at last"


def test_an_exception_of_the_caller_can_be_named(pool, tmp_path):
    class Flaky(Exception):
        pass

    def flaky():
        if count(tmp_path / "log") == 1:
            raise Flaky
        return "at last"

    assert pool.submit(plait.task(flaky, retries=1, retry_on=Flaky)).result(LIMIT) == "at last"


def test_arguments_arrive_untouched_each_time(pool, tmp_path):
    task = plait.task(changes, retries=5)
    assert pool.submit(task, tmp_path / "log", []).result(LIMIT) == [3]


@pytest.mark.parametrize(("fn", "grace"), [(tasks.hang, 0.2), (tasks.swallow, 0)])
def test_a_cancel_is_not_tried_again(pool, tmp_path, fn, grace):
    future = pool.submit(plait.task(fn, retries=5, grace=grace), tmp_path / "begun")
    wait_for_file(tmp_path / "begun")
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
    (tmp_path / "begun").unlink()
    assert pool.submit(tasks.double, 2).result(LIMIT) == 4
    assert not (tmp_path / "begun").exists()


def test_each_attempt_has_the_whole_timeout(pool, tmp_path):
    def slow_then_fast(path, seconds):
        number = count(path)
        time.sleep(seconds)
        if number < 3:
            raise ValueError(number)
        return number

    for timeout in tasks.timeouts(1):
        task = plait.task(slow_then_fast, retries=2, timeout=timeout)
        future = pool.submit(task, tmp_path / f"{timeout}", 0.5 * timeout)
        # On a busy machine an attempt alone may be too late.
        if type(future.exception(LIMIT)) is not plait.TaskTimeout:
            break
    assert future.result() == 3


def test_attempts_may_be_of_several_workers(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool:
        task = plait.task(dies, retries=3)
        futures = [pool.submit(task, tmp_path / str(n), n % 3) for n in range(9)]
        assert [future.result(LIMIT) for future in futures] == ["at last"] * 9
        for n in range(9):
            assert len(set((tmp_path / str(n)).read_text().split())) == n % 3 + 1


def test_a_shutdown_waits_for_the_attempts(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        future = pool.submit(plait.task(fails, retries=2), tmp_path / "log", 2)
    assert future.result(0) == "at last"


def test_a_shutdown_that_cancels_ends_the_attempts(tmp_path):
    def fails_when_told():
        count(tmp_path / "log")
        tasks.write(tmp_path / "begun", os.getpid())
        wait_for_file(tmp_path / "fail")
        raise ValueError

    pool = plait.ProcessPoolExecutor(1)
    future = pool.submit(plait.task(fails_when_told, retries=5))
    read_pid(tmp_path / "begun")
    pool.shutdown(wait=False, cancel_futures=True)
    tasks.write(tmp_path / "fail")
    assert type(future.exception(LIMIT)) is ValueError
    pool.shutdown()
    assert attempts(tmp_path / "log") == 1
