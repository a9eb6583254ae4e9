"""A worker that dies fails one task; nothing that was accepted is lost."""

import concurrent.futures
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import plait

LIMIT = 60


def double(x):
    return 2 * x


def kill_myself(number):
    os.kill(os.getpid(), number)
    signal.pause()


def kill(pid):
    """Kill a worker that may have gone by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for_file(path: Path) -> None:
    while not path.exists():
        os.sched_yield()


def announce(path, text="", and_wait_for=None):
    path.with_suffix(".new").write_text(text or str(os.getpid()))
    path.with_suffix(".new").rename(path)
    if and_wait_for is None:
        signal.pause()
    wait_for_file(and_wait_for)


def template_of(worker):
    stat = Path(f"/proc/{worker}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_named(number):
    with plait.ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(LIMIT)
        error = pool.submit(kill_myself, number).exception(LIMIT)
        assert type(error) is plait.WorkerDied
        assert isinstance(error, BrokenProcessPool)
        assert number.name in str(error)
        assert f"process {pid} " in str(error)
        assert "kill_myself" in str(error)
        assert pool.submit(double, 2).result(LIMIT) == 4


def test_an_exit_code_is_told():
    with plait.ProcessPoolExecutor(1) as pool:
        with pytest.raises(plait.WorkerDied, match="exited with code 3"):
            pool.submit(os._exit, 3).result(LIMIT)
        with pytest.raises(plait.WorkerDied, match="exited with code 0"):
            pool.submit(os._exit, 0).result(LIMIT)


def test_a_death_survives_pickling():
    error = pickle.loads(pickle.dumps(plait.WorkerDied("text")))
    assert type(error) is plait.WorkerDied
    assert error.args == ("text",)


def test_one_of_a_hundred():
    with plait.ProcessPoolExecutor(2) as pool:
        futures = [
            pool.submit(kill_myself, signal.SIGKILL) if n == 30 else pool.submit(double, n)
            for n in range(100)
        ]
        errors = [future.exception(LIMIT) for future in futures]
        assert [n for n, error in enumerate(errors) if error is not None] == [30]
        assert pool.submit(double, 1).result(LIMIT) == 2


def test_an_idle_worker_killed_costs_nothing():
    with plait.ProcessPoolExecutor(2) as pool:
        for _ in range(5):
            list(pool.map(double, range(10)))
            for pid in pool._pool.pids():
                kill(pid)
            # Submitted while the deaths are perhaps not known yet.
            futures = [pool.submit(double, n) for n in range(20)]
            assert [future.result(LIMIT) for future in futures] == list(range(0, 40, 2))


def test_a_stopped_worker_can_be_killed(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        future = pool.submit(announce, tmp_path / "pid")
        wait_for_file(tmp_path / "pid")
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(plait.WorkerDied, match="SIGKILL"):
            future.result(LIMIT)


def test_its_subprocesses_die_with_it(tmp_path):
    def start(path):
        child = subprocess.Popen(["sleep", "1000"])
        announce(path, f"{os.getpid()} {child.pid}")

    with plait.ProcessPoolExecutor(1) as pool:
        future = pool.submit(start, tmp_path / "pids")
        wait_for_file(tmp_path / "pids")
        worker, child = map(int, (tmp_path / "pids").read_text().split())
        sentinel = os.pidfd_open(child)
        os.kill(worker, signal.SIGKILL)
        assert isinstance(future.exception(LIMIT), plait.WorkerDied)
        wait_readable(sentinel)
        os.close(sentinel)


def wait_readable(fd):
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    assert poll.poll(LIMIT * 1000)


def test_killed_at_random_every_future_ends_once():
    ended = []
    with plait.ProcessPoolExecutor(3) as pool:
        futures = [pool.submit(double, n) for n in range(200)]
        for future in futures:
            future.add_done_callback(ended.append)
        # A death after every tenth end.
        for n in range(0, 200, 10):
            concurrent.futures.wait(futures[: n + 1], LIMIT)
            for pid in pool._pool.pids()[:1]:
                kill(pid)
        errors = [future.exception(LIMIT) for future in futures]
        assert {type(error) for error in errors} <= {type(None), plait.WorkerDied}
        for n, (future, error) in enumerate(zip(futures, errors, strict=True)):
            if error is None:
                assert future.result() == 2 * n
        assert sum(error is not None for error in errors) <= 20
        assert pool.submit(double, 1).result(LIMIT) == 2
    assert len(ended) == len(set(ended)) == 200


def test_large_tasks_under_kill_are_all_accounted_for():
    with plait.ProcessPoolExecutor(2) as pool:
        data = bytes(1_000_000)
        futures = [pool.submit(bytes.upper, data) for _ in range(40)]
        for n in range(0, 40, 4):
            concurrent.futures.wait(futures[: n + 1], LIMIT)
            for pid in pool._pool.pids()[:1]:
                kill(pid)
        for future in futures:
            error = future.exception(LIMIT)
            assert error is None or type(error) is plait.WorkerDied
            assert error is not None or future.result() == data


def test_a_task_survives_the_template(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool:
        running = pool.submit(announce, tmp_path / "pid", "", tmp_path / "go")
        wait_for_file(tmp_path / "pid")
        worker = int((tmp_path / "pid").read_text())
        template = template_of(worker)
        sentinel = os.pidfd_open(template)
        os.kill(template, signal.SIGKILL)
        wait_readable(sentinel)
        os.close(sentinel)
        # The second worker comes from another template.
        other = pool.submit(os.getpid).result(LIMIT)
        assert template_of(other) != template
        (tmp_path / "go").touch()
        assert running.result(LIMIT) is None
        # An orphan's death is seen, and how it died, though its parent is gone.
        orphan = pool.submit(announce, tmp_path / "again")
        wait_for_file(tmp_path / "again")
        os.kill(int((tmp_path / "again").read_text()), signal.SIGKILL)
        error = orphan.exception(LIMIT)
        assert type(error) is plait.WorkerDied
        assert "was killed by SIGKILL" in str(error)
        assert pool.submit(double, 3).result(LIMIT) == 6


def test_a_template_that_is_stopped_is_replaced(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool:
        running = pool.submit(announce, tmp_path / "pid", "", tmp_path / "go")
        wait_for_file(tmp_path / "pid")
        template = template_of(int((tmp_path / "pid").read_text()))
        os.kill(template, signal.SIGSTOP)
        other = pool.submit(os.getpid).result(LIMIT)
        assert template_of(other) != template
        (tmp_path / "go").touch()
        assert running.result(LIMIT) is None


def test_an_initializer_that_dies_breaks_the_pool():
    pool = plait.ProcessPoolExecutor(2, initializer=os._exit, initargs=(7,))
    futures = [pool.submit(double, n) for n in range(3)]
    for future in futures:
        with pytest.raises(BrokenProcessPool, match="exited with code 7"):
            future.result(LIMIT)
    with pytest.raises(BrokenProcessPool, match="in a row"):
        pool.submit(double, 1)
    pool.shutdown()


def test_a_template_that_cannot_start_breaks_the_pool(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = plait.ProcessPoolExecutor(1)
    with pytest.raises(BrokenProcessPool, match=r"template .*/bin/false.* exited with code 1"):
        pool.submit(double, 1).result(LIMIT)
    pool.shutdown()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    pool = plait.ProcessPoolExecutor(1)
    with pytest.raises(BrokenProcessPool, match="No such file"):
        pool.submit(double, 1).result(LIMIT)
    pool.shutdown()


def scribble():
    """Write garbage into the shared memory that this worker has, and ring."""
    import ctypes

    for line in Path("/proc/self/maps").read_text().splitlines():
        if "plait-rings" in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            # The cursors and the ring of the responses.
            ctypes.memset(start, 0xFF, 512)
            ctypes.memset(end - 256 * 1024, 0xFF, 256 * 1024)
    for fd in Path("/proc/self/fd").iterdir():
        if fd.is_symlink() and "eventfd" in os.readlink(fd):
            os.write(int(fd.name), (1).to_bytes(8, sys.byteorder))
    signal.pause()


def test_garbage_in_shared_memory_costs_one_worker():
    with plait.ProcessPoolExecutor(2) as pool:
        error = pool.submit(scribble).exception(LIMIT)
        assert type(error) is plait.WorkerDied
        assert "garbage" in str(error)
        assert [pool.submit(double, n).result(LIMIT) for n in range(10)] == list(range(0, 20, 2))


def test_shutdown_while_workers_die():
    started = time.monotonic()
    for _ in range(5):
        pool = plait.ProcessPoolExecutor(2)
        futures = [pool.submit(kill_myself, signal.SIGKILL) for _ in range(4)]
        pool.shutdown()
        assert all(type(future.exception(0)) is plait.WorkerDied for future in futures)
    assert time.monotonic() - started < LIMIT


SLOW_REPORT = """\
import os, time

def until_killed():
    while not os.path.exists({killed!r}):
        time.sleep(0.001)

os.register_at_fork(after_in_parent=until_killed)
"""


def test_a_template_that_dies_before_it_reports_loses_no_task(tmp_path, monkeypatch):
    # The worker is forked, ready, and at a task; its template has not said so.
    killed = tmp_path / "killed"
    (tmp_path / "slow_report.py").write_text(SLOW_REPORT.format(killed=str(killed)))
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "worker"
    with plait.ProcessPoolExecutor(1, preload=["slow_report"]) as pool:
        future = pool.submit(announce, path)
        wait_for_file(path)
        kill(template_of(int(path.read_text())))
        killed.touch()
        with pytest.raises(
            plait.WorkerDied, match=r"^a worker process died, how is unknown"
        ) as info:
            future.result(LIMIT)
        assert info.value.pid is None
        assert pool.submit(double, 2).result(LIMIT) == 4
