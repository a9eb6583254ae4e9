"""Exceptions that nobody asks for: each is reported once, and no other is."""

import asyncio
import concurrent.futures
import gc
import itertools
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.helpers.tasks import until

import plait
from plait import _lost, _notifier
from plait._binding import native


def fail(text="boom"):
    raise ValueError(text)


def line_of_caller():
    return sys._getframe(1).f_lineno


def texts(reports):
    return [str(args.exc_value) for args in reports]


def ended(future):
    concurrent.futures.wait([future])
    return future


def test_one_that_is_dropped_is_reported_where_it_was_submitted(lost):
    with plait.ThreadPoolExecutor(1) as pool:
        future, line = ended(pool.submit(fail)), line_of_caller()
        assert lost == []
        del future
        assert [(args.name, args.filename, args.lineno) for args in lost] == [
            ("fail", __file__, line)
        ]
        assert isinstance(lost[0].exc_value, ValueError)
        assert lost[0].exc_value.__traceback__.tb_frame.f_code is fail.__code__


def test_frames_are_found_without_objects():
    assert native.site_is_cheap()


def test_one_that_is_dropped_before_its_task_ends_is_reported(lost):
    gate = threading.Event()
    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(gate.wait)
        pool.submit(fail)
        gate.set()
    assert texts(lost) == ["boom"]


def test_one_in_a_cycle_is_reported_with_its_traceback(lost):
    with plait.ThreadPoolExecutor(1) as pool:
        cycle = [ended(pool.submit(fail))]
        cycle.append(cycle)
        del cycle
        gc.collect()
    assert texts(lost) == ["boom"]
    assert lost[0].exc_value.__traceback__ is not None


def test_a_subclass_reports_too(lost):
    class Ours(plait.Future):
        pass

    with plait.ThreadPoolExecutor(1) as pool:
        assert isinstance(ended(pool.submit(fail)).exception(), ValueError)  # the first to fail

    class Later(plait.Future):
        pass

    for kind in (Ours, Later):
        future = kind()
        future.set_exception(ValueError(kind.__name__))
        cycle = [future]
        cycle.append(cycle)
        del future, cycle
    gc.collect()
    _notifier.flush()
    assert sorted(texts(lost)) == ["Later", "Ours"]


ASKED = {
    "result": lambda future: result_of(future),
    "exception": lambda future: future.exception(),
    "await": lambda future: asyncio.run(swallow(future)),
    "gather": lambda future: asyncio.run(gathered(future)),
    "wrap_future": lambda future: asyncio.run(wrapped(future)),
    "callback": lambda future: future.add_done_callback(lambda ended: ended.exception()),
    "as_completed": lambda future: [
        f.exception() for f in concurrent.futures.as_completed([future])
    ],
    "wait": lambda future: [f.exception() for f in concurrent.futures.wait([future]).done],
    "chain": lambda future: chained(future).exception(),
}


def result_of(future):
    with pytest.raises(ValueError, match="boom"):
        future.result()


async def swallow(future):
    with pytest.raises(ValueError, match="boom"):
        await future


async def gathered(future):
    await asyncio.gather(future, return_exceptions=True)


async def wrapped(future):
    with pytest.raises(ValueError, match="boom"):
        await asyncio.wrap_future(future)


def chained(future):
    other = concurrent.futures.Future()
    future.add_done_callback(lambda ended: other.set_exception(ended.exception()))
    return other


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("installed", [False, True], ids=["asyncio", "plait"])
def test_one_that_was_asked_for_is_not_reported(lost, ask, installed):
    if installed:
        plait.install()
    try:
        with plait.ThreadPoolExecutor(1) as pool:
            future = pool.submit(fail)
            ask(future)
            ended(future)
            del future
            gc.collect()
    finally:
        plait.uninstall()
    assert lost == []


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
def test_a_call_with_terms_is_reported(lost, kept):
    named = plait.task(fail, timeout=10, name="the job")
    with plait.ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        pool.submit(gate.wait)
        future = pool.submit(named)
        if not kept:
            del future
        gate.set()
    if kept:
        del future
    gc.collect()
    _notifier.flush()
    assert [(args.name, str(args.exc_value)) for args in lost] == [("the job", "boom")]


def test_a_thread_call_that_was_stopped_in_time_is_reported(lost):
    def sleep_on():
        while True:
            time.sleep(0.001)

    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(plait.task(sleep_on, timeout=0.01, grace=10))
    _notifier.flush()
    (args,) = lost
    assert isinstance(args.exc_value, plait.TaskTimeout)
    assert args.name.endswith("sleep_on")


def test_a_wait_or_a_look_at_it_asks_for_nothing(lost):
    with plait.ThreadPoolExecutor(1) as pool:
        future = ended(pool.submit(fail))
        assert future.done()
        assert not future.cancelled()
        assert "ValueError" in repr(future)
        del future
    assert texts(lost) == ["boom"]


def test_what_was_cancelled_is_not_lost(lost):
    gate = threading.Event()
    with plait.ThreadPoolExecutor(1) as pool:
        running = pool.submit(gate.wait)
        assert pool.submit(fail).cancel()
        gate.set()
        assert running.result()
    assert lost == []


@pytest.mark.parametrize("pool", [plait.ThreadPoolExecutor, plait.ProcessPoolExecutor])
def test_a_pool_that_ends_has_reported_what_nobody_can_ask_for(lost, pool):
    with pool(2) as executor:
        line = line_of_caller() + 1
        executor.submit(fail)
    (args,) = lost
    assert (args.filename, args.lineno) == (__file__, line)
    assert args.name.endswith("fail")  # processes name the module too


def test_one_that_is_kept_can_be_asked_after_its_pool_has_ended(lost):
    with plait.ThreadPoolExecutor(1) as pool:
        future = pool.submit(fail)
    assert str(future.exception()) == "boom"
    del future
    assert lost == []


POOLS = [plait.ThreadPoolExecutor, plait.ProcessPoolExecutor, plait.ThreadPool, plait.Pool]


def end(pool):
    if isinstance(pool, plait.ThreadPool | plait.Pool):
        pool.close()
        pool.join()
    else:
        pool.shutdown()


@pytest.mark.parametrize("kind", POOLS)
def test_what_is_kept_of_a_pool_that_has_ended_is_reported_soon(lost, monkeypatch, kind):
    monkeypatch.setattr(_lost, "PATIENCE", 0.05)
    kept = []
    for text in "asked", "kept":
        pool = kind(1)
        submits = hasattr(pool, "submit")
        kept.append(pool.submit(fail, text) if submits else pool.apply_async(fail, (text,)))
        end(pool)
        if text == "asked":
            # Nobody can be late: it is asked before its time begins.
            monkeypatch.setattr(_lost, "PATIENCE", 0.06)
            with pytest.raises(ValueError, match="asked"):
                (getattr(kept[0], "result", None) or kept[0].get)()
    assert len(kept) == 2
    until(lambda: lost, "a report")
    assert texts(lost) == ["kept"]
    del kept
    gc.collect()
    assert texts(lost) == ["kept"]


@pytest.mark.parametrize("asked", [False, True], ids=["kept", "asked"])
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (plait.ProcessPoolExecutor, "map"),
        *itertools.product([plait.ThreadPool, plait.Pool], ["map_async", "imap", "imap_unordered"]),
    ],
)
def test_results_that_are_kept_of_a_pool_that_has_ended_are_reported_soon(
    lost, monkeypatch, kind, method, asked
):
    monkeypatch.setattr(_lost, "PATIENCE", 60.0 if asked else 0.05)
    pool = kind(1)
    kept, line = getattr(pool, method)(fail, ["first", "second"]), line_of_caller()
    end(pool)
    if asked:
        with pytest.raises(ValueError, match="first"):
            kept.get() if method == "map_async" else next(kept)
    else:
        until(lambda: lost, "a report")
    kept = None
    gc.collect()
    _notifier.flush()
    reported = [(args.filename, args.lineno, str(args.exc_value)) for args in lost]
    assert reported == ([] if asked else [(__file__, line, "first")])


def test_another_pools_end_reports_nothing(lost, monkeypatch):
    monkeypatch.setattr(_lost, "PATIENCE", 0.01)
    with plait.ThreadPoolExecutor(1) as pool:
        future = ended(pool.submit(fail, "first"))
        with plait.ThreadPoolExecutor(1) as other:
            kept = other.submit(fail, "second")
        until(lambda: lost, "a report")
        assert texts(lost) == ["second"]
        assert str(future.exception()) == "first"
    assert kept.done()


def test_what_a_terminated_pool_has_ended_is_not_lost(lost):
    pool = plait.ProcessPoolExecutor(1)
    future = pool.submit(wait_for_ever)
    pool.terminate_workers()
    pool.shutdown()
    del future
    _notifier.flush()
    assert lost == []


def wait_for_ever(begun=None):
    if begun:
        Path(begun).touch()
    threading.Event().wait()


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("method", ["map", "map_async", "imap", "imap_unordered", "apply_async"])
def test_what_a_terminated_pool_was_mapping_is_not_lost(lost, method, kept, tmp_path):
    pool = plait.ProcessPoolExecutor(1) if method == "map" else plait.Pool(1)
    begun = tmp_path / "begun"
    items = [str(begun), "another"]
    results = getattr(pool, method)(wait_for_ever, items[:1] if "apply" in method else items)
    until(begun.exists, "a task to begin")
    if not kept:
        del results
    if method == "map":
        pool.kill_workers()
        pool.shutdown()
    else:
        pool.terminate()
        pool.join()
    results = None
    gc.collect()
    _notifier.flush()
    assert lost == []


def test_a_map_that_its_pools_end_cuts_short_is_not_lost(lost):
    items = iter(range(10**6))
    with plait.ProcessPoolExecutor(1) as pool:
        results = pool.map(abs, items, chunksize=1, buffersize=2)
        assert next(results) == 0
    del results
    gc.collect()
    _notifier.flush()
    assert lost == []


def test_without_a_hook_it_is_logged(caplog):
    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(fail)
        line = line_of_caller() - 1
    (record,) = [record for record in caplog.records if record.name == "plait.lost"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        f"fail, submitted at {__file__}:{line}, raised ValueError, and nobody asked for it"
    )
    assert isinstance(record.exc_info[1], ValueError)


def test_a_hook_that_raises_loses_nothing(monkeypatch, caplog):
    def broken(args):
        raise LookupError("the hook")

    monkeypatch.setattr(plait, "losthook", broken, raising=False)
    before = _lost.count()
    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(fail)
    assert _lost.count() == before + 1
    errors = [r.exc_info[0] for r in caplog.records if r.name == "plait.lost"]
    assert errors == [LookupError, ValueError]


def raise_and(clean_up):
    try:
        raise KeyError("kept")
    finally:
        clean_up()


def test_the_current_exception_survives_a_report(lost):
    with plait.ThreadPoolExecutor(1) as pool:
        box = [ended(pool.submit(fail))]
        with pytest.raises(KeyError, match="kept"):
            raise_and(box.clear)
    assert texts(lost) == ["boom"]


def run(program, *, options=()):
    """Run a program; return what it writes to standard error."""
    done = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_one_that_is_kept_is_reported_at_exit():
    err = run(
        "import plait\n"
        "pool = plait.ThreadPoolExecutor(1)\n"
        "kept = pool.submit(int, 'many')\n"
        "asked = pool.submit(int, 'few')\n"
        "asked.exception()\n"
    )
    assert err.startswith("int, submitted at <string>:3, raised ValueError")
    assert err.count("ValueError: invalid literal") == 1


def test_a_forked_child_leaves_the_parents_to_the_parent():
    err = run(
        "import os, plait, concurrent.futures, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "pool = plait.ThreadPoolExecutor(1)\n"
        "kept = pool.submit(int, 'many')\n"
        "concurrent.futures.wait([kept])\n"
        "if os.fork() == 0:\n"
        "    del kept\n"
        "else:\n"
        "    os.wait()\n"
    )
    assert err.count("nobody asked") == 1


def test_the_collector_reports_in_no_thread_that_may_hold_a_lock(monkeypatch):
    """One that a hook takes, such as that of the queue in a `QueueHandler`."""
    lock, seen = threading.Lock(), []

    def hook(args):
        with lock:
            seen.append(threading.current_thread())

    monkeypatch.setattr(plait, "losthook", hook, raising=False)
    with plait.ThreadPoolExecutor(1) as pool:
        cycle = [ended(pool.submit(fail))]
    cycle.append(cycle)
    with lock:
        del cycle
        gc.collect()
        assert seen == []
    _notifier.flush()
    (thread,) = seen
    assert thread is not threading.current_thread()


def test_the_collector_reports_in_the_middle_of_a_parse():
    """What shows a traceback parses, too, which some versions take amiss: see `_lost.apart`."""
    err = run(
        "import ast, gc, plait, sys, threading\n"
        "reporters = set()\n"
        "def hook(args):\n"
        "    reporters.add(threading.current_thread())\n"
        "    plait.__losthook__(args)\n"
        "plait.losthook = hook\n"
        "with plait.ThreadPoolExecutor(1) as pool:\n"
        "    for number in range(200):\n"
        "        gc.collect()\n"
        "        plait._notifier.flush()\n"
        "        gc.set_threshold(20 + number, 1000, 1000)\n"
        "        future = pool.submit(int, 'many')\n"
        "        pool.submit(int).result()\n"
        "        cycle = [future]\n"
        "        cycle.append(cycle)\n"
        "        del future, cycle\n"
        "        ast.parse('f(a, b)\\n' * 30)\n"
        "        gc.set_threshold(700)\n"
        "assert threading.main_thread() not in reporters\n"
    )
    assert err.count("nobody asked") == 200
