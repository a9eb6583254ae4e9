"""`plait.ProcessPoolExecutor`: what ends its workers early, and the context that it is given."""

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import warnings

import pytest
from tasks import block_signals, double, hang, read_pid, until, wait_until_gone, write

import plait
from plait import _arguments

LIMIT = 60
HOW = ["terminate_workers", "kill_workers"]


def hang_deaf(begun):
    """Block SIGTERM, as a task that is in the middle of something."""
    block_signals(begun)


# ---- terminate_workers, kill_workers


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("fn", [hang, hang_deaf])
def test_what_runs_is_ended_and_what_waits_is_cancelled(tmp_path, how, fn):
    pool = plait.ProcessPoolExecutor(2)
    running = [pool.submit(fn, tmp_path / str(n)) for n in range(2)]
    waiting = [pool.submit(double, n) for n in range(10)]
    pids = [read_pid(tmp_path / str(n)) for n in range(2)]
    getattr(pool, how)()
    for future, pid in zip(running, pids, strict=True):
        error = future.exception(LIMIT)
        assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
        assert (type(error), error.pid) == (plait.WorkerDied, pid)
        wait_until_gone(pid)
    concurrent.futures.wait(waiting, LIMIT)
    assert all(future.cancelled() for future in waiting)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(double, 1)
    pool.shutdown()
    assert pool.statistics().workers == ()


def test_terminate_lets_a_handler_of_the_task_run(tmp_path):
    def handle(begun, cleaned):
        import signal

        def on_sigterm(*_):
            write(cleaned, os.getpid())
            os._exit(5)

        signal.signal(signal.SIGTERM, on_sigterm)
        hang(begun)

    pool = plait.ProcessPoolExecutor(1)
    future = pool.submit(handle, tmp_path / "begun", tmp_path / "cleaned")
    pid = read_pid(tmp_path / "begun")
    pool.terminate_workers()
    error = future.exception(LIMIT)
    assert (type(error), error.exitcode) == (plait.WorkerDied, 5)
    assert read_pid(tmp_path / "cleaned") == pid
    pool.shutdown()


@pytest.mark.parametrize("how", HOW)
def test_idle_unused_and_ended_pools_can_be_ended(how):
    unused = plait.ProcessPoolExecutor(1)
    getattr(unused, how)()
    unused.shutdown()
    pool = plait.ProcessPoolExecutor(2)
    list(pool.map(double, range(4)))
    pids = pool._pool.pids()
    assert pids
    getattr(pool, how)()
    for pid in pids:
        wait_until_gone(pid)
    getattr(pool, how)()
    pool.shutdown()
    getattr(pool, how)()


def test_what_a_task_has_started_ends_with_the_workers(tmp_path):
    def start():
        child = subprocess.Popen(["sleep", "1000"])
        write(tmp_path / "child", child.pid)
        hang()

    pool = plait.ProcessPoolExecutor(1)
    future = pool.submit(start)
    child = read_pid(tmp_path / "child")
    pool.kill_workers()
    assert type(future.exception(LIMIT)) is plait.WorkerDied
    wait_until_gone(child)
    pool.shutdown()


# ---- max_tasks_per_child


def test_a_worker_is_replaced_after_its_tasks():
    with plait.ProcessPoolExecutor(1, max_tasks_per_child=3) as pool:
        pids = [pool.submit(os.getpid).result(LIMIT) for _ in range(9)]
    assert len(set(pids)) == 3
    assert pids == sorted(pids, key=pids.index)
    assert all(pids.count(pid) == 3 for pid in pids)


def test_nothing_is_lost_when_workers_are_replaced_all_the_time():
    with plait.ProcessPoolExecutor(2, max_tasks_per_child=1) as pool:
        futures = [pool.submit(double, n) for n in range(40)]
        assert [future.result(LIMIT) for future in futures] == list(range(0, 80, 2))
        pids = [pool.submit(os.getpid) for _ in range(6)]
        assert len({future.result(LIMIT) for future in pids}) == 6


def test_bad_numbers_of_tasks_are_refused_as_by_the_standard_pool(monkeypatch):
    monkeypatch.setattr(_arguments, "_warned_of_fork", True)
    for kind in (plait.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor):
        with pytest.raises(ValueError, match="max_tasks_per_child"):
            kind(1, max_tasks_per_child=0)
        with pytest.raises(TypeError):
            kind(1, max_tasks_per_child="3")
        with pytest.raises(ValueError, match="fork"):
            kind(1, mp_context=multiprocessing.get_context("fork"), max_tasks_per_child=1)


# ---- mp_context


def parent_of_worker():
    return multiprocessing.parent_process().pid


def test_a_context_of_fork_warns_once(monkeypatch):
    monkeypatch.setattr(_arguments, "_warned_of_fork", False)
    context = multiprocessing.get_context("fork")
    with pytest.warns(UserWarning, match="clean template") as caught:
        first = plait.ProcessPoolExecutor(1, mp_context=context)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = plait.ProcessPoolExecutor(1, mp_context=context)
    for pool in (first, second):
        with pool:
            assert pool.submit(parent_of_worker).result(LIMIT) == os.getpid()


def test_the_warning_points_at_who_makes_the_pool(monkeypatch):
    class Mine(plait.ProcessPoolExecutor):
        pass

    context = multiprocessing.get_context("fork")
    for make in (
        lambda: plait.Pool(1, context=context),
        lambda: plait.ProcessPoolExecutor(1, context),
        lambda: Mine(1, context),
    ):
        monkeypatch.setattr(_arguments, "_warned_of_fork", False)
        with pytest.warns(UserWarning, match="clean template") as caught:
            pool = make()
        assert caught[0].filename == __file__
        with pool:
            pass


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_contexts_are_taken_in_silence(method):
    context = multiprocessing.get_context(method)
    with plait.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(parent_of_worker).result(LIMIT) == os.getpid()
        assert pool._mp_context is context


# ---- an interrupt that the caller survives

SURVIVES = """
import os, signal, sys, threading
import plait
from tasks import hang, read_pid

signal.signal(signal.SIGINT, signal.default_int_handler)
pool = plait.ProcessPoolExecutor(2)
running = pool.submit(hang, sys.argv[1])
pid = read_pid(sys.argv[1])
try:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    running.result()
except KeyboardInterrupt:
    print("interrupted")
# The caller has chosen to go on.
assert not running.done()
assert pool.submit(abs, -3).result(60) == 3
assert running.cancel()
assert isinstance(running.exception(60), plait.Killed)
pool.shutdown()
print("ended")
"""


def test_a_pool_is_usable_after_an_interrupt(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SURVIVES, str(tmp_path / "begun")],
        env={
            **os.environ,
            "PYTHONPATH": os.path.dirname(os.path.abspath(read_pid.__code__.co_filename)),
        },
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\nended\n", "")


# ---- what measures coverage

MEASURES = """
import atexit, os, pathlib, sys
# As coverage's hook for subprocesses: it starts with the interpreter, counts, and saves at its end.
lines = 0
def trace(frame, event, arg):
    global lines
    lines += frame.f_code.co_name == "double"
    return None
sys.setprofile(trace)
def save():
    sys.setprofile(None)
    path = pathlib.Path(os.environ["SAVED"], str(os.getpid()))
    path.write_text(str(lines))
atexit.register(save)
"""


def test_what_measures_subprocesses_is_saved_by_workers_that_retire(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(MEASURES)
    saved = tmp_path / "saved"
    saved.mkdir()
    monkeypatch.setenv("SAVED", str(saved))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with plait.ProcessPoolExecutor(1, max_tasks_per_child=5) as pool:
        for n in range(10):
            assert pool.submit(double, n).result(LIMIT) == 2 * n
    until(lambda: len(list(saved.iterdir())) >= 2, "what two workers have saved")
    counts = [int(path.read_text()) for path in saved.iterdir()]
    # Called and returned, five times in each.
    assert counts.count(10) == 2, counts
