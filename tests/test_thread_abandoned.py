"""Calls in threads that do not stop: they are abandoned, and nobody waits for them."""

import threading
import time

import pytest
from programs import run
from tasks import until

import plait

LIMIT = 30


class Hang:
    """A call that sits in C until it is let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.over = False
        self.lock = threading.Lock()
        self.lock.acquire()

    def __call__(self):
        self.begun.set()
        while True:
            try:
                self.lock.acquire()
                return "late"
            except BaseException:
                # On a busy machine it may be stopped before it comes to sit there.
                if self.over:
                    raise

    def let_go(self):
        self.over = True
        self.lock.release()


def test_its_thread_is_replaced_and_its_result_dropped():
    with plait.ThreadPoolExecutor(1) as pool:
        hang = Hang()
        # It is to be where it hangs by then.
        future = pool.submit(plait.task(hang, timeout=0.5, grace=0.5))
        behind = pool.submit(pow, 2, 3)
        error = future.exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        assert error.abandoned
        assert "by abandoning its thread" in str(error)
        (place,) = error.__notes__
        assert "self.lock.acquire()" in place
        assert "in __call__" in place.splitlines()[2]
        assert behind.result(LIMIT) == 8
        counts = pool.statistics()
        assert (counts.timed_out, counts.abandoned, counts.late) == (1, 1, 0)
        assert (counts.running, counts.workers) == (0, 1)
        hang.let_go()
        until(lambda: pool.statistics().late == 1)
        assert pool.submit(pow, 2, 4).result(LIMIT) == 16
    assert future.exception() is error
    counts = pool.statistics()
    assert (counts.done, counts.workers) == (2, 0)


def test_a_cancel_abandons_too():
    with plait.ThreadPoolExecutor(1) as pool:
        hang = Hang()
        future = pool.submit(plait.task(hang, grace=0.05))
        assert hang.begun.wait(LIMIT)
        assert future.cancel()
        error = future.exception(LIMIT)
        assert type(error) is plait.Killed
        assert error.abandoned
        assert not future.cancel()
        hang.let_go()


def test_no_other_attempt_follows():
    with plait.ThreadPoolExecutor(1) as pool:
        hang = Hang()
        future = pool.submit(plait.task(hang, timeout=0.02, grace=0.02, retries=5))
        assert future.exception(LIMIT).abandoned
        hang.let_go()
        until(lambda: pool.statistics().late == 1)
    assert not hang.lock.acquire(blocking=False)


def test_its_exception_is_repeated_until_it_ends():
    seen = []

    def stubborn():
        while len(seen) < 4:
            try:
                while True:
                    pass
            except BaseException as error:
                seen.append(error)
        return "at last"

    with plait.ThreadPoolExecutor(1) as pool:
        future = pool.submit(plait.task(stubborn, timeout=0.02, grace=0.02))
        assert future.exception(LIMIT).abandoned
        until(lambda: pool.statistics().late == 1)
    assert len(seen) == 4


def test_those_that_end_just_then_are_counted_once():
    """What ends at the very end of its grace is abandoned or not, never half."""

    def work(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            try:
                while time.perf_counter() < end:
                    pass
            except BaseException:
                continue

    terms = plait.task(work, timeout=5e-4, grace=5e-4)
    with plait.ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(terms, n % 10 * 2e-4) for n in range(1_500)]
        errors = [future.exception(LIMIT) for future in futures]
        until(lambda: pool.statistics().abandoned == pool.statistics().late)
        assert pool.submit(pow, 2, 3).result(LIMIT) == 8
    counts = pool.statistics()
    assert counts.abandoned == sum(error.abandoned for error in errors if error is not None)
    assert counts.timed_out == sum(error is not None for error in errors)
    assert (counts.running, counts.workers) == (0, 0)


def test_a_slow_callback_of_one_does_not_hold_up_the_others():
    go = threading.Event()
    with plait.ThreadPoolExecutor(2) as pool:
        hang = Hang()
        future = pool.submit(plait.task(hang, timeout=0.02, grace=0.02))
        told = threading.Event()
        future.add_done_callback(lambda future: (told.set(), go.wait(LIMIT)))
        assert told.wait(LIMIT)

        @plait.task(timeout=0.02, grace=LIMIT)
        def spin():
            while True:
                pass

        assert type(pool.submit(spin).exception(LIMIT)) is plait.TaskTimeout
        go.set()
        hang.let_go()


def test_a_replacement_that_cannot_be_started_is_tried_again(monkeypatch):
    refused = []
    start = threading.Thread.start

    def refuse(thread):
        if threading.current_thread().name == "plait-watcher" and len(refused) < 3:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with plait.ThreadPoolExecutor(1) as pool:
        hang = Hang()
        pool.submit(plait.task(hang, timeout=0.02, grace=0.02))
        behind = pool.submit(pow, 2, 3)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert behind.result(LIMIT) == 8
        hang.let_go()
    assert len(refused) == 3


def test_a_forked_child_has_none_of_it():
    program = """
        import os, plait, threading, time
        pool = plait.ThreadPoolExecutor(1)
        future = pool.submit(plait.task(time.sleep, timeout=0.5, grace=0.5), 3600)
        while not future.running():
            time.sleep(0.001)
        if os.fork() == 0:
            mine = plait.ThreadPoolExecutor(1)
            spin = plait.task(lambda: [None for _ in iter(int, 1)], timeout=0.05, grace=30)
            assert type(mine.submit(spin).exception(30)) is plait.TaskTimeout
            mine.shutdown()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        assert future.exception(30).abandoned
    """
    assert run(program) == (0, "", "")


HANGS = {
    "sleep": "time.sleep(3600)",
    "lock": "lock.acquire()",
    "ctypes": "ctypes.CDLL(None).sleep(3600)",
    "wait": "queue.SimpleQueue().get()",
    "swallow": "swallow()",
    "future": "plait.Future().result()",
}


@pytest.mark.parametrize("hang", HANGS)
def test_the_interpreter_does_not_wait_for_it(hang):
    program = f"""
        import ctypes, plait, queue, threading, time
        lock = threading.Lock()
        lock.acquire()

        def swallow():
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass

        def work():
            {HANGS[hang]}

        pool = plait.ThreadPoolExecutor(1)
        # On a busy machine it may be stopped before it hangs.
        while not pool.submit(plait.task(work, timeout=0.05, grace=0.05)).exception(30).abandoned:
            pass
    """
    assert run(program) == (0, "", "")


def test_a_deadline_counts_while_the_interpreter_ends():
    program = """
        import plait
        def spin():
            try:
                while True:
                    pass
            finally:
                print("stopped")
        pool = plait.ThreadPoolExecutor(1)
        spinning = pool.submit(plait.task(spin, timeout=0.3, grace=30))
        spinning.add_done_callback(plait.Future.exception)
        pool.submit(print, "and the rest")
    """
    assert run(program) == (0, "stopped\nand the rest\n", "")


def test_one_that_hangs_while_the_interpreter_ends_is_abandoned():
    program = """
        import plait, time
        pool = plait.ThreadPoolExecutor(1)
        hung = pool.submit(plait.task(time.sleep, timeout=0.3, grace=0.1), 3600)
        hung.add_done_callback(plait.Future.exception)
        pool.submit(print, "and the rest")
    """
    assert run(program) == (0, "and the rest\n", "")


# Indented as the programs are that it is put before.
HANG = """
        import time

        def hang():
            while True:
                try:
                    time.sleep(3600)
                except BaseException:
                    pass
"""


def test_what_no_thread_is_left_for_is_not_lost_when_the_interpreter_ends():
    program = """
        import plait, threading, time

        start = threading.Thread.start

        def refuse(thread):
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("can't create new thread")
            start(thread)

        def set_up():
            print("set up", threading.current_thread() is threading.main_thread())

        def tell(future):
            print(repr(future.exception())[:32])

        threading.Thread.start = refuse
        pool = plait.ThreadPoolExecutor(1, initializer=set_up)
        hung = pool.submit(plait.task(hang, timeout=0.3, grace=0.1))
        hung.add_done_callback(plait.Future.exception)
        pool.submit(print, "made")
        pool.submit(plait.task(print), "not made").add_done_callback(tell)
        pool.submit(print, "made, too").add_done_callback(tell)
        del pool
    """
    told = "RuntimeError('this call was not "
    lines = ["set up False", "set up True", "made", told, "made, too", "None"]
    assert run(HANG + program) == (0, "\n".join([*lines, ""]), "")


def test_who_waits_for_the_pool_stands_in_when_the_interpreter_ends():
    program = """
        import plait, threading, time

        def use():
            pool = plait.ThreadPoolExecutor(1)
            with pool:
                hung = pool.submit(plait.task(hang, timeout=0.2, grace=0.1))
                made = pool.submit(print, "made")
                begun.set()
                threading.main_thread().join()
                threading.Thread.start = refuse
            print(made.done(), hung.exception().abandoned)

        def refuse(thread):
            raise RuntimeError("can't create new thread")

        begun = threading.Event()
        threading.Thread(target=use).start()
        begun.wait()
    """
    assert run(HANG + program) == (0, "made\nTrue True\n", "")


def test_one_that_comes_back_while_the_interpreter_ends():
    """Up to 3.13 the interpreter unwinds such a thread: no frame of Rust may be on its stack."""
    program = """
        import plait, time
        with plait.ThreadPoolExecutor(20) as pool:
            for n in range(20):
                late = pool.submit(plait.task(time.sleep, timeout=0.05, grace=0.05), 0.2 + n * 2e-3)
                late.add_done_callback(plait.Future.exception)

        class Slow:
            def __del__(self):
                end = time.monotonic() + 0.4
                while time.monotonic() < end:
                    pass
        import sys
        sys.slow = Slow()
    """
    assert run(program) == (0, "", "")
