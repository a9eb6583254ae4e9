"""The notifier: what native threads end, told by Python code."""

import asyncio
import concurrent.futures as cf
import logging
import subprocess
import sys
import threading

import pytest

import plait
from plait import _notifier
from plait._binding import native

pytestmark = pytest.mark.skipif(
    not native.DEBUG_BUILD, reason="ends futures through the probe, which is in debug builds only"
)

LIMIT = 30.0


def end(*futures, value=1):
    native._finish_elsewhere(list(futures), lambda: value)


def end_and_flush(*futures):
    """End them and return when everybody has been told.

    A result is there before its callbacks are queued; but one thread ends all,
    in order, so that when the last is there those before it are queued.
    """
    last = plait.Future()
    end(*futures, last)
    last.result(LIMIT)
    _notifier.flush()


def test_callbacks_run_in_the_notifiers_thread_in_order():
    future, calls, done = plait.Future(), [], threading.Event()
    for number in range(3):
        future.add_done_callback(
            lambda f, number=number: calls.append((number, threading.current_thread().name))
        )
    future.add_done_callback(lambda f: done.set())
    end(future)
    assert done.wait(LIMIT)
    assert calls == [(number, "plait-notifier") for number in range(3)]


def test_a_result_does_not_wait_for_the_notifier():
    """A callback that is stuck holds up other callbacks, and no result."""
    stuck, other, go_on = plait.Future(), plait.Future(), threading.Event()
    begun = threading.Event()

    def block(_):
        begun.set()
        go_on.wait(LIMIT)

    stuck.add_done_callback(block)
    end(stuck)
    assert begun.wait(LIMIT)
    called = threading.Event()
    other.add_done_callback(lambda f: called.set())
    end(other, value=5)
    assert other.result(LIMIT) == 5
    assert not called.is_set()
    go_on.set()
    assert called.wait(LIMIT)


def test_errors_are_logged_and_stop_nobody(caplog):
    futures = [plait.Future() for _ in range(3)]
    calls = []

    def bad(_):
        raise SystemExit("bad callback")

    for future in futures:
        future.add_done_callback(bad)
        future.add_done_callback(calls.append)
    with caplog.at_level(logging.ERROR, logger="concurrent.futures"):
        end_and_flush(*futures)
    assert calls == futures
    assert [type(record.exc_info[1]) for record in caplog.records] == [SystemExit] * 3


def test_flush_waits_for_all_that_was_queued():
    for _ in range(50):
        futures, calls = [plait.Future() for _ in range(20)], []
        for future in futures:
            future.add_done_callback(calls.append)
        end_and_flush(*futures)
        assert calls == futures


def test_flush_in_a_callback_returns_at_once():
    future, flushed = plait.Future(), threading.Event()

    def flush(_):
        _notifier.flush()
        flushed.set()

    future.add_done_callback(flush)
    end(future)
    assert flushed.wait(LIMIT)


def test_wait_and_as_completed_of_many():
    for _ in range(30):
        futures = [plait.Future() for _ in range(40)]
        end(*futures)
        assert cf.wait(futures, LIMIT).not_done == set()
        futures = [plait.Future() for _ in range(40)]
        end(*futures)
        assert set(cf.as_completed(futures, LIMIT)) == set(futures)


def test_a_coroutine_is_woken():
    async def main():
        loop = asyncio.get_running_loop()
        before = threading.active_count()
        for _ in range(20):
            futures = [plait.Future() for _ in range(20)]
            loop.call_soon(end, *futures)
            assert await asyncio.gather(*futures) == [1] * 20
        assert threading.active_count() <= before + 1

    asyncio.run(main())


def test_a_closed_loop_loses_only_itself(caplog):
    future, called = plait.Future(), threading.Event()
    closed = asyncio.new_event_loop()
    assert future._subscribe(closed, closed.create_future())
    closed.close()
    future.add_done_callback(lambda f: called.set())

    async def wait():
        return await future

    async def main():
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        end(future)
        return await waiting

    assert asyncio.run(main()) == 1
    assert called.wait(LIMIT)
    _notifier.flush()
    assert caplog.records == []


def test_a_broken_loop_is_reported(caplog):
    class Broken:
        def call_soon_threadsafe(self, *_):
            raise OSError("no more wake-ups")

        def is_closed(self):
            return False

    future, called = plait.Future(), threading.Event()
    assert future._subscribe(Broken(), object())
    future.add_done_callback(lambda f: called.set())
    end(future)
    assert called.wait(LIMIT)
    assert "no more wake-ups" in caplog.text


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_exit_delivers_everything_accepted():
    script = """
import plait
from plait._binding import native
futures = [plait.Future() for _ in range(500)]
for number, future in enumerate(futures):
    future.add_done_callback(lambda f, number=number: print(number))
native._finish_elsewhere(futures, lambda: 1)
futures[-1].result()
"""
    for _ in range(3):
        # The last one's waker may come after the exit hook, like that of a
        # pool which nobody shut down; none before it may be missing.
        numbers = [int(word) for word in run(script)]
        assert numbers in (list(range(500)), list(range(499)))


def test_what_comes_during_the_exit_neither_hangs_nor_crashes():
    script = """
import plait, threading
from plait._binding import native
for _ in range(20):
    futures = [plait.Future() for _ in range(200)]
    for future in futures:
        future.add_done_callback(lambda f: None)
    native._finish_elsewhere(futures, lambda: 1)
"""
    for _ in range(5):
        assert run(script) == []


def test_flush_after_the_exit_hook_delivers_itself():
    script = """
import atexit, plait
from plait import _notifier
from plait._binding import native
future = plait.Future()
future.add_done_callback(lambda f: print("called"))
@atexit.register
def late():
    native._finish_elsewhere([future], lambda: 1)
    future.result()
    while future._done_callbacks:
        _notifier.flush()
"""
    assert run(script) == ["called"]


def test_a_forked_child_has_a_notifier_of_its_own():
    script = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import plait
from plait._binding import native
def use():
    future, called = plait.Future(), threading.Event()
    future.add_done_callback(lambda f: called.set())
    native._finish_elsewhere([future], lambda: 1)
    assert called.wait(30)
use()
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        use()
        grandchild = os.fork()
        if grandchild == 0:
            use()
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 3
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
use()
"""
    assert run(script) == []
