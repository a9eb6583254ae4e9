"""plait.Future: the standard interface, one future at a time."""

import asyncio
import concurrent.futures as cf
import contextlib
import copy
import gc
import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import weakref

import pytest

import plait
from plait._binding import native

LIMIT = 30.0


def later(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def finished(value):
    future = plait.Future()
    future.set_result(value)
    return future


def failed(error):
    future = plait.Future()
    future.set_exception(error)
    return future


def cancelled():
    future = plait.Future()
    assert future.cancel()
    return future


class Boom(Exception):
    pass


# What it is


def test_is_a_standard_future_without_its_condition():
    future = plait.Future()
    assert isinstance(future, cf.Future)
    assert vars(future) == {}
    assert not asyncio.isfuture(future)
    assert not hasattr(future, "_asyncio_future_blocking")


def test_can_be_subclassed_with_arguments_of_its_own():
    class Named(plait.Future):
        def __init__(self, name):
            super().__init__()
            self.name = name

    assert Named("x").name == "x"
    with pytest.raises(TypeError):
        plait.Future(1)


def test_is_generic_weakly_referable_and_hashable():
    future = plait.Future()
    assert plait.Future[int].__args__ == (int,)
    assert weakref.ref(future)() is future
    assert {future: 1}[future] == 1


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_cannot_be_pickled_or_copied(use):
    with pytest.raises(TypeError, match=r"cannot pickle or copy <Future .* state=pending>.*result"):
        use(plait.Future())


def test_repr():
    future = plait.Future()
    assert repr(future) == f"<Future at {id(future):#x} state=pending>"
    future.set_running_or_notify_cancel()
    assert repr(future) == f"<Future at {id(future):#x} state=running>"
    future.set_result([1])
    assert repr(future) == f"<Future at {id(future):#x} state=finished returned list>"
    assert repr(failed(Boom())).endswith("state=finished raised Boom>")
    assert repr(cancelled()).endswith("state=cancelled>")


# Its states


def test_states():
    future = plait.Future()
    assert (future.running(), future.done(), future.cancelled()) == (False, False, False)
    assert future._state == "PENDING"
    assert future.set_running_or_notify_cancel()
    assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
    assert future._state == "RUNNING"
    assert not future.cancel()
    future.set_result(1)
    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert future._state == "FINISHED"
    assert not future.cancel()


def test_a_cancelled_future():
    future = cancelled()
    assert future.cancel()
    assert (future.running(), future.done(), future.cancelled()) == (False, True, True)
    assert future._state == "CANCELLED_AND_NOTIFIED"
    with pytest.raises(cf.CancelledError):
        future.result()
    with pytest.raises(cf.CancelledError):
        future.exception()
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(RuntimeError, match=r"unexpected state: <Future .* state=cancelled>"):
        future.set_running_or_notify_cancel()


@pytest.mark.parametrize("make", [lambda: finished(1), lambda: failed(Boom()), cancelled])
def test_ends_once(make):
    future = make()
    with pytest.raises(cf.InvalidStateError, match="<Future at"):
        future.set_result(2)
    with pytest.raises(cf.InvalidStateError, match="<Future at"):
        future.set_exception(Boom())


def test_begins_once():
    future = plait.Future()
    future.set_running_or_notify_cancel()
    with pytest.raises(RuntimeError, match="unexpected state"):
        future.set_running_or_notify_cancel()


# Its outcome


def test_result_and_exception():
    value, error = object(), Boom()
    assert finished(value).result() is value
    assert finished(value).result(timeout=0) is value
    assert finished(value).exception() is None
    assert failed(error).exception() is error
    with pytest.raises(Boom) as raised:
        failed(error).result()
    assert raised.value is error


def test_private_parts_as_others_read_them():
    value, error = object(), Boom()
    assert (plait.Future()._result, plait.Future()._exception) == (None, None)
    assert (finished(value)._result, finished(value)._exception) == (value, None)
    assert (failed(error)._result, failed(error)._exception) == (None, error)
    assert plait.Future()._get_snapshot() == (False, False, None, None)
    assert finished(value)._get_snapshot() == (True, False, value, None)
    assert failed(error)._get_snapshot() == (True, False, None, error)
    assert cancelled()._get_snapshot() == (True, True, None, None)


def test_an_exception_class_is_raised_as_raise_does():
    with pytest.raises(Boom):
        failed(Boom).result()
    assert failed(Boom).exception() is Boom


def test_set_exception_none_is_a_result_as_in_the_standard():
    assert failed(None).result() is None


@pytest.mark.parametrize("bad", ["boom", 1, int, object()])
def test_set_exception_takes_exceptions_only(bad):
    future = plait.Future()
    with pytest.raises(TypeError, match="an exception is needed"):
        future.set_exception(bad)
    assert not future.done()


def test_raising_often_does_not_grow_the_traceback():
    def fail():
        raise Boom

    try:
        fail()
    except Boom as caught:
        error = caught
    original = len(traceback.extract_tb(error.__traceback__))
    future = failed(error)
    for _ in range(10):
        with pytest.raises(Boom) as raised:
            future.result()
        frames = traceback.extract_tb(raised.value.__traceback__)
        assert len(frames) == original + 1
        assert frames[-1].name == "fail"


def test_base_exceptions_are_raised_too():
    with pytest.raises(SystemExit):
        failed(SystemExit(3)).result()
    with pytest.raises(KeyboardInterrupt):
        failed(KeyboardInterrupt()).result()


# Waiting


@pytest.mark.parametrize("wait", ["result", "exception"])
def test_a_waiter_is_woken(wait):
    future = plait.Future()
    seen = []
    threads = [later(lambda: seen.append(getattr(future, wait)(LIMIT))) for _ in range(5)]
    future.set_result(None)
    for thread in threads:
        thread.join()
    assert seen == [None] * 5


def test_a_waiter_is_woken_by_a_cancellation():
    future = plait.Future()
    seen = []

    def wait():
        try:
            future.result(LIMIT)
        except cf.CancelledError as error:
            seen.append(error)

    thread = later(wait)
    assert future.cancel()
    thread.join()
    assert len(seen) == 1


@pytest.mark.parametrize("timeout", [0, 0.001, -1, -math.inf, True])
def test_timeouts(timeout):
    future = plait.Future()
    if timeout is not True:
        with pytest.raises(TimeoutError, match="has not ended within"):
            future.result(timeout)
        with pytest.raises(cf.TimeoutError):
            future.exception(timeout=timeout)
    assert finished(1).result(timeout) == 1


def test_a_timeout_without_end():
    future = plait.Future()
    thread = later(future.set_result, 1)
    assert future.result(math.inf) == 1
    thread.join()
    assert future.result(1e300) == 1


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        ("1", TypeError, "timeout must be a number of seconds or None, not <class 'str'>"),
        ([], TypeError, "not <class 'list'>"),
        (math.nan, ValueError, "NaN"),
    ],
)
def test_bad_timeouts(timeout, error, message):
    for future in (plait.Future(), finished(1)):
        with pytest.raises(error, match=message):
            future.result(timeout)
        with pytest.raises(error, match=message):
            future.exception(timeout)


def test_ctrl_c_ends_a_wait():
    main = threading.main_thread().ident
    begun, raised = threading.Event(), threading.Event()

    def interrupt():
        # Again and again: one that comes before the sleep only sets a flag.
        while not raised.wait(0.01):
            signal.pthread_kill(main, signal.SIGINT)

    def handler(*_):
        if begun.is_set() and not raised.is_set():
            raised.set()
            raise KeyboardInterrupt

    future = plait.Future()
    before = signal.signal(signal.SIGINT, handler)
    try:
        thread = later(interrupt)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            begun.set()
            future.result(LIMIT)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not future.done()


# Callbacks


@pytest.mark.parametrize("touch", [False, True])
def test_callbacks_come_in_order_with_the_future(touch):
    future = plait.Future()
    if touch:
        assert future._waiters == []
    calls = []
    for number in range(4):
        future.add_done_callback(lambda f, number=number: calls.append((number, f, f.result())))
    assert len(future._done_callbacks) == 4
    future.set_result("x")
    assert calls == [(number, future, "x") for number in range(4)]
    assert future._done_callbacks == []


@pytest.mark.parametrize("make", [lambda: finished(1), lambda: failed(Boom()), cancelled])
def test_a_callback_of_an_ended_future_is_called_at_once(make):
    future, calls = make(), []
    future.add_done_callback(lambda f: calls.append((f, threading.get_ident())))
    assert calls == [(future, threading.get_ident())]


def test_a_cancellation_calls_back_in_the_cancelling_thread():
    future, calls = plait.Future(), []
    future.add_done_callback(lambda f: calls.append(threading.get_ident()))
    future.cancel()
    future.cancel()
    assert calls == [threading.get_ident()]


def test_an_exception_of_a_callback_is_logged_and_stops_nobody(caplog):
    future, calls = plait.Future(), []

    def bad(_):
        raise Boom("in callback")

    future.add_done_callback(bad)
    future.add_done_callback(calls.append)
    with caplog.at_level(logging.ERROR, logger="concurrent.futures"):
        future.set_result(1)
        future.add_done_callback(bad)
    assert calls == [future]
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.name == "concurrent.futures"
        assert record.getMessage() == f"exception calling callback for {future!r}"
        assert isinstance(record.exc_info[1], Boom)
        assert record.exc_info[2] is not None


def test_an_interrupt_in_a_callback_goes_up_after_the_others_were_called():
    future, calls = plait.Future(), []

    def bad(_):
        raise KeyboardInterrupt

    future.add_done_callback(bad)
    future.add_done_callback(calls.append)
    with pytest.raises(KeyboardInterrupt):
        future.set_result(1)
    assert calls == [future]


def test_callbacks_may_use_the_future():
    future, calls = plait.Future(), []

    def first(f):
        f.add_done_callback(lambda f: calls.append("inner"))
        calls.append("first")
        assert f.done()
        assert not f.cancel()
        assert cf.wait([f], LIMIT).done == {f}

    future.add_done_callback(first)
    future.add_done_callback(lambda f: calls.append("second"))
    future.set_result(1)
    assert calls == ["inner", "first", "second"]


# The standard ways to wait


@pytest.mark.parametrize("when", [cf.FIRST_COMPLETED, cf.FIRST_EXCEPTION, cf.ALL_COMPLETED])
def test_wait_of_ended_futures(when):
    futures = {finished(1), failed(Boom()), cancelled()}
    assert cf.wait(futures, LIMIT, when) == (futures, set())


def test_wait_for_each_kind_of_end():
    for end in (
        lambda f: f.set_result(1),
        lambda f: f.set_exception(Boom()),
        lambda f: f.cancel(),
    ):
        future, other = plait.Future(), plait.Future()
        thread = later(end, future)
        assert cf.wait([future, other], LIMIT, cf.FIRST_COMPLETED) == ({future}, {other})
        thread.join()
        assert list(cf.as_completed([future], LIMIT)) == [future]
        assert future._waiters == []
        with pytest.raises(TimeoutError):
            list(cf.as_completed([other], 0.001))
        assert other._waiters == []
        assert cf.wait([other], 0).not_done == {other}


def test_wait_for_the_first_exception():
    good, bad, other = plait.Future(), plait.Future(), plait.Future()
    good.set_result(1)
    thread = later(bad.set_exception, Boom())
    assert cf.wait([good, bad, other], LIMIT, cf.FIRST_EXCEPTION) == ({good, bad}, {other})
    thread.join()


def test_works_beside_standard_futures():
    ours, theirs = plait.Future(), cf.Future()
    threads = [later(ours.set_result, 1), later(theirs.set_result, 2)]
    assert {f.result() for f in cf.as_completed([ours, theirs], LIMIT)} == {1, 2}
    for thread in threads:
        thread.join()


def test_the_published_state_does_not_change_under_the_condition():
    future = plait.Future()
    with future._condition:
        assert future._state == "PENDING"
        thread = later(future.set_result, 1)
        assert future.result(LIMIT) == 1
        assert future.done()
        # The fate is decided; who looks under the condition must not see it yet.
        assert future._state == "RUNNING"
    thread.join()
    assert future._state == "FINISHED"


def test_a_cancellation_is_published_under_the_condition():
    future = plait.Future()
    with future._condition:
        thread = later(future.cancel)
        with pytest.raises(cf.CancelledError):
            future.result(LIMIT)
        assert future._state == "CANCELLED"
    thread.join()
    assert future._state == "CANCELLED_AND_NOTIFIED"


def test_a_condition_made_after_the_end_is_published_from_the_start():
    future = finished(1)
    with future._condition:
        assert future._state == "FINISHED"


def test_who_waits_on_the_condition_itself_is_notified():
    future, seen = plait.Future(), []
    ready = threading.Event()

    def wait():
        with future._condition:
            ready.set()
            seen.append(future._condition.wait_for(lambda: future._state == "FINISHED", LIMIT))

    thread = later(wait)
    ready.wait(LIMIT)
    future.set_result(1)
    thread.join()
    assert seen == [True]


def test_an_interrupted_publication_is_made_good():
    """Ctrl-C while the main thread waits for the condition loses no waiter."""
    future, raised, called = plait.Future(), threading.Event(), threading.Event()
    future.add_done_callback(lambda f: called.set())
    main, held = threading.main_thread().ident, threading.Event()

    def hold():
        with future._condition:
            held.set()
            while not future.cancelled():
                pass
            while not raised.wait(0.01):
                signal.pthread_kill(main, signal.SIGINT)

    def handler(*_):
        if not raised.is_set():
            raised.set()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    try:
        thread = later(hold)
        held.wait(LIMIT)
        with pytest.raises(KeyboardInterrupt):
            future.cancel()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert called.wait(LIMIT)
    assert cf.wait([future], LIMIT).done == {future}


# Garbage


def survivors(make):
    gc.collect()
    references = [weakref.ref(make()) for _ in range(1000)]
    gc.collect()
    return sum(reference() is not None for reference in references)


def cycle_by_callback():
    future = plait.Future()
    future.add_done_callback(lambda _: future)
    return future


def cycle_by_callback_and_condition():
    future = plait.Future()
    future._waiters.append(future)
    future.add_done_callback(lambda _: future)
    return future


def cycle_by_result():
    future = plait.Future()
    # A tuple cannot be cleared: the future has to break this one.
    future.set_result((future,))
    return future


def cycle_by_exception():
    future = plait.Future()
    error = Boom(future)
    error.__cause__ = error
    future.set_exception(error)
    return future


def cycle_by_traceback():
    future = plait.Future()
    try:
        raise Boom
    except Boom as error:
        future.set_exception(error)
    with contextlib.suppress(Boom):
        future.result()
    return future


def cycle_by_waiter():
    class Loop:
        pass

    future, loop = plait.Future(), Loop()
    loop.future = future
    assert future._subscribe(loop, loop)
    return future


@pytest.mark.parametrize(
    "make",
    [
        cycle_by_callback,
        cycle_by_callback_and_condition,
        cycle_by_result,
        cycle_by_exception,
        cycle_by_traceback,
        cycle_by_waiter,
    ],
)
def test_cycles_are_collected(make):
    assert survivors(make) == 0


def test_dropped_without_a_cycle_is_freed_at_once():
    gc.disable()
    try:
        future = plait.Future()
        assert cf.wait([future], 0).not_done == {future}
        future.set_result(1)
        reference = weakref.ref(future)
        del future
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not native.DEBUG_BUILD, reason="the probe is part of debug builds only")
def test_a_callback_survives_although_only_the_engine_knows_the_future():
    calls, went_on = [], threading.Event()

    def make():
        future = native._new_future()

        def callback(f):
            calls.append((f is future, f.result()))
            went_on.set()

        future.add_done_callback(callback)
        return [future]

    futures = make()

    def decode():
        return "value"

    native._finish_elsewhere(futures, decode)
    del futures
    gc.collect()
    assert went_on.wait(LIMIT)
    assert calls == [(True, "value")]


# Decoding


needs_probe = pytest.mark.skipif(not native.DEBUG_BUILD, reason="the probe is in debug builds only")


@needs_probe
def test_is_decoded_once_and_by_who_asks():
    asked = []

    def decode():
        asked.append(threading.get_ident())
        return object()

    future = plait.Future()
    native._finish_elsewhere([future], decode)
    cf.wait([future], LIMIT)
    assert future.done()
    assert repr(future).endswith("state=finished>")
    assert asked == []
    assert future.result() is future.result()
    assert asked == [threading.get_ident()]
    assert repr(future).endswith("state=finished returned object>")


@needs_probe
def test_all_see_one_object_if_many_decode_at_once():
    barrier = threading.Barrier(4)

    def decode():
        barrier.wait(LIMIT)
        return object()

    future, seen = plait.Future(), []
    native._finish_elsewhere([future], decode)
    threads = [later(lambda: seen.append(future.result(LIMIT))) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(map(id, seen))) == 1


@needs_probe
def test_a_value_goes_although_a_native_thread_had_the_future_last(tmp_path):
    class Value:
        pass

    gate, gone = tmp_path / "gate", threading.Event()
    os.mkfifo(gate)
    future = plait.Future()
    native._finish_elsewhere([future], Value, hold=gate)
    value = future.result(LIMIT)
    weakref.finalize(value, gone.set)
    del future, value
    assert not gone.is_set()
    gate.write_bytes(b"")
    # Nothing of plait's is called here meanwhile.
    assert gone.wait(LIMIT)


@needs_probe
def test_what_cannot_be_decoded_is_the_outcome():
    def decode():
        raise Boom("cannot be read")

    future = plait.Future()
    native._finish_elsewhere([future], decode)
    first = future.exception(LIMIT)
    assert isinstance(first, Boom)
    assert future.exception() is first
    with pytest.raises(Boom):
        future.result()


@needs_probe
def test_an_interrupt_while_decoding_is_not_the_outcome():
    answers = [KeyboardInterrupt(), None]

    def decode():
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return 5

    future = plait.Future()
    native._finish_elsewhere([future], decode)
    with pytest.raises(KeyboardInterrupt):
        future.result(LIMIT)
    assert future.result() == 5


@needs_probe
def test_an_encoded_exception_counts_as_one_before_it_is_decoded():
    bad, other = plait.Future(), plait.Future()
    thread = later(lambda: native._finish_elsewhere([bad], lambda: Boom("far"), True))
    assert cf.wait([bad, other], LIMIT, cf.FIRST_EXCEPTION) == ({bad}, {other})
    thread.join()
    with pytest.raises(Boom, match="far"):
        bad.result()


# Fork and exit


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@needs_probe
def test_a_forked_child_cannot_wait_for_a_task_of_its_parent():
    script = """
import os, plait
from plait._binding import native
engine, bare, done = native._new_future(), plait.Future(), plait.Future()
done.set_result(1)
pid = os.fork()
if pid == 0:
    for use in (engine.result, engine.exception, engine.cancel, lambda: engine._condition,
                lambda: engine.add_done_callback(print), lambda: engine.set_result(1)):
        try:
            use()
        except RuntimeError as error:
            assert "forked" in str(error), error
        else:
            raise AssertionError(use)
    assert done.result() == 1
    bare.set_result(2)
    assert bare.result() == 2
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    assert run(script) == ""


def test_a_daemon_thread_may_wait_while_the_interpreter_exits():
    script = """
import threading, plait
# Loaded before the exit: a thread that imports while the interpreter ends
# crashes CPython up to 3.12, whatever it imports.
plait.Future()
started = threading.Event()
def wait():
    while True:
        started.set()
        try:
            plait.Future().result(0.0005)
        except TimeoutError:
            pass
for _ in range(4):
    threading.Thread(target=wait, daemon=True).start()
started.wait()
"""
    for _ in range(5):
        assert run(script) == ""
