"""`ProcessPoolExecutor.statistics()`."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

import plait

LIMIT = 60


def hold(here: Path, gate: Path) -> None:
    here.touch()
    while not gate.exists():
        time.sleep(0.001)


def refuse():
    raise ValueError


def test_it_counts_what_happens(tmp_path):
    gate = tmp_path / "gate"
    with plait.ProcessPoolExecutor(1) as pool:
        try:
            assert pool.submit(len, b"12").result(LIMIT) == 2
            assert isinstance(pool.submit(refuse).exception(LIMIT), ValueError)
            pool.submit(hold, tmp_path / "here", gate)
            while not (tmp_path / "here").exists():
                time.sleep(0.001)
            behind = [pool.submit(len, b"") for _ in range(5)]
            assert behind[0].cancel()
            assert behind[4].cancel()
            found = pool.statistics()
        finally:
            gate.touch()
        assert isinstance(found, plait.PoolStatistics)
        assert (found.queued, found.running, found.done, found.failed) == (3, 1, 1, 1)
        assert (found.cancelled, found.killed, found.timed_out, found.restarts) == (2, 0, 0, 0)
        [worker] = found.workers
        assert isinstance(worker, plait.WorkerStatistics)
        assert (worker.activity, worker.running, worker.done, worker.failed) == ("busy", 1, 1, 1)
        assert worker.queued <= 1
        assert 0 < worker.bytes_sent == found.bytes_sent
        assert 0 < worker.bytes_received == found.bytes_received
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.queued = 0


def test_what_a_worker_counted_outlives_it():
    with plait.ProcessPoolExecutor(1) as pool:
        for _ in range(3):
            pool.submit(len, b"").result(LIMIT)
        [worker] = pool.statistics().workers
        assert worker.pid == pool.submit(os.getpid).result(LIMIT)
        dead = pool.submit(os.kill, worker.pid, signal.SIGKILL)
        assert isinstance(dead.exception(LIMIT), plait.WorkerDied)
        pool.submit(len, b"").result(LIMIT)
        found = pool.statistics()
        assert (found.done, found.failed, found.restarts) == (5, 1, 1)
        [other] = found.workers
        assert other.pid != worker.pid
        assert (other.done, other.activity) == (1, "idle")


def test_an_unused_pool_and_one_that_has_ended():
    pool = plait.ProcessPoolExecutor(2)
    assert pool.statistics().workers == ()
    pool.submit(len, b"").result(LIMIT)
    pool.shutdown()
    found = pool.statistics()
    assert (found.done, found.workers) == (1, ())
