"""Calls in threads that are stopped: deadlines, cancels, retries."""

import contextvars
import functools
import gc
import importlib
import sys
import threading
import time
import weakref

import pytest
from tasks import timeouts

import plait

LIMIT = 30


@pytest.fixture
def pool():
    pool = plait.ThreadPoolExecutor(2)
    yield pool
    pool.shutdown()


def spin(begun=None):
    if begun is not None:
        begun.set()
    while True:
        pass


def test_one_that_is_in_time_is_left_alone(pool):
    assert pool.submit(plait.task(pow, timeout=600), 2, 5).result(LIMIT) == 32
    assert pool.submit(plait.task(pow), 2, 5).result(LIMIT) == 32


def test_at_its_timeout_an_exception_is_raised_in_it(pool):
    cleaned = threading.Event()

    def work():
        try:
            spin()
        finally:
            cleaned.set()

    error = pool.submit(plait.task(work, timeout=0.05, grace=LIMIT)).exception(LIMIT)
    assert type(error) is plait.TaskTimeout
    assert "work was stopped at its timeout of 0.05 s" in str(error)
    (place,) = error.__notes__
    assert place.splitlines()[1] == "It was stopped here:"
    assert "in work" in place.splitlines()[2]
    assert "in spin" in place
    assert not error.abandoned
    assert cleaned.is_set()


def test_a_cancel_stops_what_runs(pool):
    begun = threading.Event()
    future = pool.submit(plait.task(spin, grace=LIMIT), begun)
    assert begun.wait(LIMIT)
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
    assert not future.cancelled()


def test_a_plain_call_is_not_stopped(pool):
    begun, go = threading.Event(), threading.Event()

    def work():
        begun.set()
        return go.wait(LIMIT)

    future = pool.submit(work)
    assert begun.wait(LIMIT)
    assert not future.cancel()
    go.set()
    assert future.result(LIMIT) is True


def test_one_that_has_not_begun_is_withdrawn():
    go = threading.Event()
    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(go.wait, LIMIT)
        future = pool.submit(plait.task(spin, timeout=0.01))
        assert future.cancel()
        assert future.cancelled()
        go.set()


def busy_for(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def test_the_stop_of_one_call_never_reaches_the_next_nor_the_pool(monkeypatch):
    broken = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    stopped = plait.task(busy_for, timeout=3e-4, grace=LIMIT)
    futures = []
    with plait.ThreadPoolExecutor(4) as pool:
        for n in range(6_000):
            seconds = n % 7 * 1e-4
            futures.append(pool.submit(stopped if n % 2 else busy_for, seconds))
            if n % 5 == 0:
                futures[n // 2].cancel()
        ends = {None: 0, plait.TaskTimeout: 0, plait.Killed: 0}
        for n, future in enumerate(futures):
            if future.cancelled():
                continue
            error = future.exception(LIMIT)
            ends[type(error) if error else None] += 1
            if n % 2 == 0:
                assert future.result() == n % 7 * 1e-4
        assert ends[plait.TaskTimeout] > 0
        assert pool.statistics().workers <= 4
    assert not broken
    counts = pool.statistics()
    assert (counts.timed_out, counts.killed) == (ends[plait.TaskTimeout], ends[plait.Killed])
    assert counts.done == ends[None]
    assert counts.done + counts.timed_out + counts.killed + counts.cancelled == 6_000
    assert (counts.queued, counts.running, counts.workers, counts.abandoned) == (0, 0, 0, 0)


@pytest.mark.parametrize("wrap", [lambda fn: fn, functools.partial], ids=["itself", "partial"])
def test_no_frame_of_ours_is_seen(pool, wrap):
    def work():
        raise ValueError

    fn = wrap(plait.task(work, timeout=LIMIT))
    trace = pool.submit(fn).exception(LIMIT).__traceback__
    # The first is where the exception was asked for and raised again, if it was.
    assert trace.tb_frame.f_code is work.__code__
    assert trace.tb_next is None
    hidden = wrap(plait.task(spin, timeout=0.02, grace=LIMIT))
    (place,) = pool.submit(hidden).exception(LIMIT).__notes__
    assert "in spin" in place.splitlines()[2]


def test_an_exception_holds_nothing_of_the_call(pool):
    class Text(str):
        pass

    text = Text("no number")
    gone = weakref.ref(text)
    future = pool.submit(plait.task(int), text)
    assert isinstance(future.exception(LIMIT), ValueError)
    del text
    gc.collect()
    assert gone() is None


def test_methods_keep_their_terms(pool):
    class Thing:
        @plait.task(timeout=0.02, grace=LIMIT)
        def spin(self):
            spin()

    assert type(pool.submit(Thing().spin).exception(LIMIT)) is plait.TaskTimeout


def test_retries(pool):
    left = iter([ValueError("one"), ValueError("two"), None])

    def work():
        error = next(left)
        if error is not None:
            raise error
        return "well"

    assert pool.submit(plait.task(work, retries=2)).result(LIMIT) == "well"
    with pytest.raises(ZeroDivisionError) as caught:
        pool.submit(plait.task(divmod, retries=2, retry_on=ValueError), 1, 0).result(LIMIT)
    assert not hasattr(caught.value, "__notes__")


def test_the_last_failure_counts(pool):
    error = pool.submit(plait.task(divmod, retries=2), 1, 0).exception(LIMIT)
    assert type(error) is ZeroDivisionError
    assert "attempt number 3" in error.__notes__[-1]
    late = plait.task(spin, timeout=0.01, grace=LIMIT, retries=1)
    error = pool.submit(late).exception(LIMIT)
    assert type(error) is plait.TaskTimeout
    assert "attempt number 2" in error.__notes__[-1]


def test_a_timeout_is_of_each_attempt(pool):
    attempts = []

    def work():
        attempts.append(None)
        if len(attempts) < 3:
            spin()
        return len(attempts)

    assert pool.submit(plait.task(work, timeout=0.1, grace=LIMIT, retries=2)).result(LIMIT) == 3


class Backoff:
    """Terms with a wait between attempts, and a sign that an attempt is over."""

    def __init__(self, pause):
        self.pause = pause
        self.asked = threading.Event()

    def __call__(self, attempt):
        self.asked.set()
        return self.pause(attempt)

    def submit(self, pool, fn, *args):
        terms = plait.task(fn, retries=9)._terms._replace(backoff=self)
        return pool._submit(fn, args, {}, terms)


def test_one_that_waits_for_its_next_attempt_is_cancelled_at_once(pool):
    backoff = Backoff(lambda attempt: 3600)
    future = backoff.submit(pool, divmod, 1, 0)
    assert backoff.asked.wait(LIMIT)
    assert future.cancel()
    error = future.exception(LIMIT)
    assert type(error) is plait.Killed
    assert "while it waited for its next attempt" in str(error)
    assert pool.statistics().killed == 1


def test_what_fails_between_attempts_ends_the_call(pool):
    future = Backoff(lambda attempt: 1 / 0).submit(pool, int, "x")
    error = future.exception(LIMIT)
    assert type(error) is ZeroDivisionError
    assert type(error.__context__) is ValueError
    future = Backoff(lambda attempt: "soon").submit(pool, int, "x")
    assert type(future.exception(LIMIT)) is TypeError
    assert pool.submit(pow, 2, 3).result(LIMIT) == 8


def test_attempts_run_in_copies_of_their_context(pool):
    seen = []
    color = contextvars.ContextVar("color", default="none")

    def work():
        seen.append(color.get())
        color.set("black")
        raise ValueError

    color.set("red")
    terms = plait.task(work, retries=1)._terms
    future = pool._submit(work, (), {}, terms, contextvars.copy_context())
    assert type(future.exception(LIMIT)) is ValueError
    assert seen == ["red", "red"]
    assert color.get() == "red"


def test_nothing_is_raised_while_a_module_is_being_imported(pool, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def work(name):
        importlib.import_module(name)
        spin()

    for n, timeout in enumerate(timeouts(0.02)):
        name = f"slow_to_import{n}"
        source = f"import time\nend = time.monotonic() + {5 * timeout}\n"
        (tmp_path / f"{name}.py").write_text(source + "while time.monotonic() < end: pass\n")
        importlib.invalidate_caches()
        error = pool.submit(plait.task(work, timeout=timeout, grace=LIMIT), name).exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        # It is not there where the call was stopped before it came to the import.
        if module := sys.modules.pop(name, None):
            break
    assert "slow_to_import" not in "".join(error.__notes__)
    assert module.end


def test_what_stops_a_thread_does_not_hit_those_that_it_starts(pool):
    """Up to 3.11 a new thread is found under the number of the one that starts it."""

    def work():
        while True:
            thread = threading.Thread(target=ran.append, args=(1,))
            thread.start()
            thread.join()

    ran = []
    terms = plait.task(work, timeout=0.005, grace=LIMIT)
    for _ in range(50):
        assert type(pool.submit(terms).exception(LIMIT)) is plait.TaskTimeout
    assert ran
