"""A worker that somebody stops while it has nothing to do keeps no task."""

import subprocess
import sys

import pytest

LIMIT = 60

PRELUDE = """
import os, pathlib, signal, sys, threading, time
import plait
LIMIT = 30

def name():
    return os.getpid()

def meet(number, count, folder):
    path = pathlib.Path(folder, str(number))
    path.touch()
    while len(os.listdir(folder)) < count:
        time.sleep(0.001)
    return os.getpid()

def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    while pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()

def gather(pool, count):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        futures = [pool.submit(meet, number, count, folder) for number in range(count)]
        return {future.result(LIMIT) for future in futures}
"""

WITHOUT_TIMEOUT = """
with plait.ProcessPoolExecutor(2) as pool:
    stopped, other = gather(pool, 2)
    stop(stopped)
    for _ in range(3):
        futures = [pool.submit(name) for _ in range(4)]
        assert {future.result(LIMIT) for future in futures} == {other}
    os.kill(stopped, signal.SIGCONT)
    assert gather(pool, 2) == {stopped, other}
    assert pool.statistics().restarts == 0
"""

ON_ALL_WORKERS = """
with plait.ProcessPoolExecutor(3) as pool:
    stopped = min(gather(pool, 3))
    stop(stopped)
    timed = plait.task(meet, timeout=2, retries=3)
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        futures = [pool.submit(timed, number, 3, folder) for number in range(3)]
        pids = {future.result(LIMIT) for future in futures}
    assert stopped not in pids
"""

ALONE = """
with plait.ProcessPoolExecutor(1) as pool:
    stopped = pool.submit(name).result(LIMIT)
    stop(stopped)
    future = pool.submit(plait.task(name, timeout=2))
    assert future.result(LIMIT) != stopped
"""

NO_TIMEOUT_ALONE = """
with plait.ProcessPoolExecutor(1) as pool:
    stopped = pool.submit(name).result(LIMIT)
    stop(stopped)
    futures = [pool.submit(name) for _ in range(5)]
    time.sleep(1)  # What would wrongly be done about it would be done by then.
    assert not any(future.done() for future in futures)
    assert futures[4].cancel()
    os.kill(stopped, signal.SIGCONT)
    assert {future.result(LIMIT) for future in futures[:4]} == {stopped}
"""

SHUTDOWN = """
pool = plait.ProcessPoolExecutor(2)
stopped, other = gather(pool, 2)
stop(stopped)
pool.shutdown(wait=True)
"""

SHUTDOWN_WITH_TASKS = """
pool = plait.ProcessPoolExecutor(2)
stopped, other = gather(pool, 2)
stop(stopped)
futures = [pool.submit(name) for _ in range(6)]
pool.shutdown(wait=True)
assert stopped not in {future.result(0) for future in futures}
"""

STARTING = """
def initialize(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)

import tempfile
with tempfile.TemporaryDirectory() as folder:
    with plait.ProcessPoolExecutor(1, initializer=initialize, initargs=(folder + "/x",)) as pool:
        assert pool.submit(plait.task(pow, timeout=2), 2, 3).result(LIMIT) == 8
"""


@pytest.mark.parametrize(
    "script",
    [
        WITHOUT_TIMEOUT,
        ON_ALL_WORKERS,
        ALONE,
        NO_TIMEOUT_ALONE,
        SHUTDOWN,
        SHUTDOWN_WITH_TASKS,
        STARTING,
    ],
    ids=[
        "without_timeout",
        "on_all_workers",
        "alone",
        "no_timeout_alone",
        "shutdown",
        "shutdown_with_tasks",
        "starting",
    ],
)
def test_a_stopped_idle_worker_keeps_nothing(script):
    command = [sys.executable, "-c", PRELUDE + script]
    done = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
