"""Which task of a process pool runs when and where: handed ahead, and taken back."""

import concurrent.futures
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tasks import wait_for_file

import plait

LIMIT = 60


@contextlib.contextmanager
def gate_in(directory: Path) -> Iterator[Path]:
    """Return a file that does not exist; at the end it does, so that nobody hangs."""
    path = directory / "gate"
    try:
        yield path
    finally:
        path.touch()


def hold(here: Path, gate: Path) -> int:
    """Say that the task has begun, then wait at the gate."""
    here.touch()
    wait_for_file(gate)
    return os.getpid()


def double(x):
    return 2 * x


def note(directory: Path, name: object) -> None:
    with open(directory / "log", "a") as log:
        log.write(f"{name}\n")


def test_n_tasks_on_n_workers_run_at_once_with_others_behind(tmp_path):
    with plait.ProcessPoolExecutor(3) as pool:
        for turn in range(3):
            gate = tmp_path / f"gate{turn}"
            here = [tmp_path / f"{turn}-{n}" for n in range(3)]
            held = [pool.submit(hold, path, gate) for path in here]
            behind = [pool.submit(double, n) for n in range(50)]
            for path in here:
                wait_for_file(path)
            assert all(future.running() for future in held)
            assert not any(future.running() or future.done() for future in behind)
            gate.touch()
            assert len({future.result(LIMIT) for future in held}) == 3
            assert [future.result(LIMIT) for future in behind] == list(range(0, 100, 2))


def test_tasks_that_need_one_another_run_at_once_whoever_has_been_fast(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool:
        # Short ones, so that many are handed ahead to one worker.
        for future in [pool.submit(double, n) for n in range(2_000)]:
            future.result(LIMIT)
        for turn in range(20):
            gate = tmp_path / f"gate{turn}"
            held = pool.submit(hold, tmp_path / f"{turn}", gate)
            between = [pool.submit(double, n) for n in range(turn)]
            opens = pool.submit(gate.touch)
            assert opens.result(LIMIT) is None
            assert held.result(LIMIT)
            assert [future.result(LIMIT) for future in between] == list(range(0, 2 * turn, 2))


def test_a_task_that_was_handed_ahead_can_be_cancelled(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool, gate_in(tmp_path) as gate:
        held = pool.submit(hold, tmp_path / "here", gate)
        wait_for_file(tmp_path / "here")
        behind = [pool.submit(note, tmp_path, n) for n in range(5)]
        assert [future.cancel() for future in behind] == [True] * 5
        assert [future.cancel() for future in behind] == [True] * 5
        assert all(future.cancelled() for future in behind)
        last = pool.submit(note, tmp_path, "last")
        gate.touch()
        assert held.result(LIMIT)
        last.result(LIMIT)
        assert (tmp_path / "log").read_text() == "last\n"


def test_who_cancels_hears_of_it_at_once(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool, gate_in(tmp_path) as gate:
        pool.submit(hold, tmp_path / "here", gate)
        behind = pool.submit(double, 1)
        threads = []
        behind.add_done_callback(lambda future: threads.append(threading.current_thread()))
        assert behind.cancel()
        assert threads == [threading.current_thread()]
        with pytest.raises(concurrent.futures.CancelledError):
            behind.result(0)


def test_shutdown_takes_back_what_was_handed_ahead(tmp_path):
    pool = plait.ProcessPoolExecutor(1)
    with gate_in(tmp_path) as gate:
        held = pool.submit(hold, tmp_path / "here", gate)
        wait_for_file(tmp_path / "here")
        behind = [pool.submit(note, tmp_path, n) for n in range(5)]
        pool.shutdown(wait=False, cancel_futures=True)
        done, not_done = concurrent.futures.wait(behind, LIMIT)
        assert not not_done
        assert all(future.cancelled() for future in done)
        assert not held.done()
    assert held.result(LIMIT)
    pool.shutdown()
    assert not (tmp_path / "log").exists()


def test_a_pool_ends_when_its_last_task_is_cancelled(tmp_path):
    pool = plait.ProcessPoolExecutor(1)
    with gate_in(tmp_path) as gate:
        held = pool.submit(hold, tmp_path / "here", gate)
        behind = pool.submit(double, 1)
        pool.shutdown(wait=False)
        assert behind.cancel()
    pool.shutdown()
    assert held.done()


def test_a_death_costs_only_the_task_that_had_begun(tmp_path):
    def die(gate):
        wait_for_file(gate)
        os.kill(os.getpid(), signal.SIGKILL)

    with plait.ProcessPoolExecutor(1) as pool:
        first = pool.submit(die, tmp_path / "gate")
        behind = [pool.submit(note, tmp_path, n) for n in range(20)]
        (tmp_path / "gate").touch()
        assert isinstance(first.exception(LIMIT), plait.WorkerDied)
        assert [future.result(LIMIT) for future in behind] == [None] * 20
        # Each once, and in the order of their submission.
        assert (tmp_path / "log").read_text().split() == [str(n) for n in range(20)]


def test_tasks_begin_in_the_order_of_their_submission(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        for future in [pool.submit(note, tmp_path, n) for n in range(500)]:
            future.result(LIMIT)
    assert (tmp_path / "log").read_text().split() == [str(n) for n in range(500)]


def test_nothing_waits_behind_a_task_that_takes_long(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool, gate_in(tmp_path) as gate:
        for future in [pool.submit(double, n) for n in range(2_000)]:
            future.result(LIMIT)
        # One worker hangs; what was handed to it ahead begins before what was
        # submitted much later.
        held = pool.submit(hold, tmp_path / "here", gate)
        for future in [pool.submit(note, tmp_path, n) for n in range(3_000)]:
            future.result(LIMIT)
        order = [int(name) for name in (tmp_path / "log").read_text().split()]
        assert sorted(order) == list(range(3_000))
        assert not held.done()
        # The furthest that one was overtaken.
        assert max(place - number for place, number in enumerate(order)) < 1_500
        gate.touch()


def test_a_large_message_is_handed_to_who_is_idle(tmp_path):
    with plait.ProcessPoolExecutor(2) as pool, gate_in(tmp_path) as gate:
        held = pool.submit(hold, tmp_path / "here", gate)
        wait_for_file(tmp_path / "here")
        large = [pool.submit(len, bytes(3_000_000)) for _ in range(5)]
        assert [future.result(LIMIT) for future in large] == [3_000_000] * 5
        assert large[0].cancel() is False
        gate.touch()
        assert held.result(LIMIT)
