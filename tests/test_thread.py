"""`plait.Thread`: a `threading.Thread` that can be stopped."""

import contextlib
import gc
import sys
import threading
import time
import weakref

import pytest
from programs import run
from tasks import timeouts, until

import plait

LIMIT = 30


@pytest.fixture
def told(monkeypatch):
    """Collect what threads tell of their exceptions."""
    told = []

    def hook(args):
        told.append((args.thread, args.exc_value))

    monkeypatch.setattr(threading, "excepthook", hook)
    return told


def spin(begun=None):
    if begun is not None:
        begun.set()
    while True:
        pass


def test_it_is_a_thread(told):
    seen = []

    def work(*args, **kwargs):
        seen.append((args, kwargs, threading.current_thread(), threading.current_thread().daemon))

    thread = plait.Thread(target=work, args=(1, 2), kwargs={"three": 3}, name="worker")
    assert not thread.is_alive()
    assert thread.exception is None
    assert "initial" in repr(thread)
    thread.start()
    assert not thread.daemon
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert seen == [((1, 2), {"three": 3}, thread, False)]
    assert (thread.name, thread.exception, told) == ("worker", None, [])
    assert not thread.cancel()


def test_misuse_is_refused_as_by_the_standard_thread():
    thread = plait.Thread(target=int)
    with pytest.raises(RuntimeError, match="before it is started"):
        thread.join()
    thread.start()
    thread.join(LIMIT)
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()

    class Forgetful(plait.Thread):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Forgetful().start()
    errors = []

    def join_itself():
        try:
            threading.current_thread().join()
        except RuntimeError as error:
            errors.append(str(error))

    thread = plait.Thread(target=join_itself)
    thread.start()
    thread.join(LIMIT)
    assert errors == ["cannot join current thread"]


def test_a_subclass_has_its_own_run():
    class Adder(plait.Thread):
        total = 0

        def run(self):
            self.total = 1 + 2

    thread = Adder(timeout=LIMIT)
    thread.start()
    thread.join(LIMIT)
    assert (thread.total, thread.exception) == (3, None)


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), ("1", TypeError)])
def test_arguments_are_checked(timeout, error):
    with pytest.raises(error, match="timeout"):
        plait.Thread(timeout=timeout)
    with pytest.raises(error, match="grace"):
        plait.Thread(grace=timeout)


def test_what_it_raises_is_told_and_kept(told):
    def work():
        raise ValueError("wrong")

    thread = plait.Thread(target=work)
    thread.start()
    thread.join(LIMIT)
    assert type(thread.exception) is ValueError
    assert told == [(thread, thread.exception)]
    frames = thread.exception.__traceback__
    assert [frames.tb_frame.f_code.co_name, frames.tb_next.tb_frame.f_code] == [
        "run",
        work.__code__,
    ]


def test_at_its_timeout_it_is_stopped(told):
    cleaned = []

    def work():
        try:
            spin()
        finally:
            cleaned.append(threading.current_thread())

    thread = plait.Thread(target=work, name="slow", timeout=0.05, grace=LIMIT)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert type(thread.exception) is plait.TaskTimeout
    assert "the thread 'slow' was stopped at its timeout of 0.05 s" in str(thread.exception)
    assert told == [(thread, thread.exception)]
    assert cleaned == [thread]


def test_it_is_cancelled(told):
    begun = threading.Event()
    thread = plait.Thread(target=spin, args=(begun,), grace=LIMIT)
    thread.start()
    assert begun.wait(LIMIT)
    assert thread.cancel()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert type(thread.exception) is plait.Killed
    assert not told
    assert not thread.cancel()


def test_one_that_is_cancelled_before_its_start_never_runs(told):
    seen = []
    thread = plait.Thread(target=seen.append, args=(1,))
    assert thread.cancel()
    thread.start()
    thread.join(LIMIT)
    assert "before it began" in str(thread.exception)
    assert (seen, told) == ([], [])


def test_join_does_not_wait_for_one_that_was_abandoned(told):
    def work():
        while not over:
            # On a busy machine it may be stopped before it comes to sit there.
            with contextlib.suppress(BaseException):
                lock.acquire()

    lock, over = threading.Lock(), []
    lock.acquire()
    thread = plait.Thread(target=work, timeout=0.05, grace=0.05)
    thread.start()
    thread.join(LIMIT)
    assert thread.is_alive()
    assert thread.exception.abandoned
    until(lambda: told, "that it is told")
    assert told == [(thread, thread.exception)]
    over.append(True)
    lock.release()
    threading.Thread.join(thread, LIMIT)
    assert not thread.is_alive()
    assert len(told) == 1


def test_join_has_its_own_time():
    go = threading.Event()
    thread = plait.Thread(target=go.wait, args=(LIMIT,))
    thread.start()
    thread.join(0)
    thread.join(-1)
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join()
    assert not thread.is_alive()


def test_one_that_could_not_be_started_can_be_later(monkeypatch):
    seen = []
    thread = plait.Thread(target=seen.append, args=(1,), timeout=LIMIT)
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    plait.Thread(target=int).start()
    with monkeypatch.context() as patch:
        patch.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            thread.start()
    assert not thread.daemon
    thread.start()
    thread.join(LIMIT)
    assert (seen, thread.exception) == ([1], None)


def test_it_goes_without_the_collector():
    class Argument:
        pass

    def work(argument):
        raise ValueError

    gc.collect()
    gc.disable()
    try:
        for target in (id, spin_a_moment):
            argument = Argument()
            gone = weakref.ref(argument)
            thread = plait.Thread(target=target, args=(argument,), timeout=0.01, grace=LIMIT)
            thread_gone = weakref.ref(thread)
            thread.start()
            thread.join(LIMIT)
            del argument
            assert gone() is None
            del thread
            assert thread_gone() is None
    finally:
        gc.enable()


def spin_a_moment(argument):
    end = time.monotonic() + 0.001
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2),
    reason="starts no thread once the main thread has ended (gh-113964)",
)
def test_the_interpreter_waits_for_it_and_what_it_starts():
    program = """
        import plait, threading

        exiting = threading.Event()

        def more(depth):
            exiting.wait()
            print(depth)
            if depth:
                plait.Thread(target=more, args=(depth - 1,)).start()

        plait.Thread(target=more, args=(3,)).start()
        threading._register_atexit(exiting.set)  # what comes last is called first
    """
    code, out, err = run(program)
    assert (code, out.split(), err) == (0, ["3", "2", "1", "0"], "")


def test_in_a_forked_child_it_has_ended():
    program = """
        import os, plait, threading

        go = threading.Event()
        thread = plait.Thread(target=go.wait)
        thread.start()
        if os.fork() == 0:
            thread.join()
            assert not thread.is_alive()
            assert not thread.cancel()
            assert thread.exception is None
            mine = plait.Thread(target=os._exit, args=(7,))
            mine.start()
            mine.join()
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        go.set()
    """
    assert run(program) == (0, "", "")


def test_the_interpreter_waits_for_it():
    program = """
        import plait, threading

        exiting = threading.Event()

        def late():
            exiting.wait()
            print("done")

        plait.Thread(target=late).start()
        threading._register_atexit(exiting.set)  # what comes last is called first
    """
    assert run(program) == (0, "done\n", "")


@pytest.mark.parametrize("arguments", ["timeout=0.05, grace=0.05", "daemon=True"])
def test_the_interpreter_does_not_wait_for(arguments):
    program = f"""
        import plait, threading, time
        threading.excepthook = lambda args: print(args.exc_type.__name__)
        plait.Thread(target=time.sleep, args=(3600,), {arguments}).start()
    """
    code, out, err = run(program)
    assert (code, out, err) == (0, "TaskTimeout\n" if "timeout" in arguments else "", "")


PROGRAM_OF_ONES_THAT_OUTLAST = """
    import plait, threading

    def late():
        threading.main_thread().join()
        print("main thread ended", flush=True)
        {then}

    plait.Thread(target=late, {arguments}).start()
"""


def test_it_can_wait_for_the_main_thread_to_end():
    program = PROGRAM_OF_ONES_THAT_OUTLAST.format(then="print('done')", arguments="")
    assert run(program) == (0, "main thread ended\ndone\n", "")


def run_until_it_outlasts(then, arguments):
    """Run it with ever longer timeouts, until the main thread has ended before."""
    for timeout in timeouts(0.3):
        options = f"timeout={timeout}, {arguments}"
        ended = run(PROGRAM_OF_ONES_THAT_OUTLAST.format(then=then, arguments=options))
        if ended[1]:
            break
    return ended


def test_its_deadline_is_kept_when_the_main_thread_has_ended():
    code, out, err = run_until_it_outlasts("while True: pass", "grace=30")
    assert (code, out) == (0, "main thread ended\n")
    assert "TaskTimeout" in err
    assert "by an exception in its thread" in err


def test_one_that_hangs_when_the_main_thread_has_ended_is_abandoned_and_told_of():
    code, out, err = run_until_it_outlasts("threading.Event().wait()", "grace=0.05")
    assert (code, out) == (0, "main thread ended\n")
    assert "TaskTimeout" in err
    assert "by abandoning its thread" in err


def test_at_exit_those_have_ended_that_outlast_the_main_thread():
    # No thread can be started there (gh-113964).
    cannot_start = (3, 12) <= sys.version_info < (3, 12, 2)
    program = f"""
        import atexit, plait, sys, threading

        def more():
            sys.stdout.write("more\\n")

        def late():
            threading.main_thread().join()
            {"more()" if cannot_start else "plait.Thread(target=more).start()"}

        threads = [plait.Thread(target=late) for _ in range(8)]
        for thread in threads:
            thread.start()
        atexit.register(lambda: print(*{{thread.is_alive() for thread in threads}}))
    """
    assert run(program) == (0, "more\n" * 8 + "False\n", "")


def test_run_can_be_called_by_hand():
    class Counter(plait.Thread):
        calls = 0

        def run(self):
            self.calls += 1

    thread = Counter()
    thread.run()
    thread.start()
    thread.join(LIMIT)
    thread.run()
    assert thread.calls == 3
    plain = plait.Thread(target=int)
    plain.run()
    # As the standard class says of a second time.
    with pytest.raises(AttributeError, match="_target"):
        plain.run()
