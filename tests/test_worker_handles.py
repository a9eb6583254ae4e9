"""What programs find in a pool's `_processes` and `_pool`: handles of its workers."""

import multiprocessing
import os
import signal

import pytest
from tasks import until, wait_for_file

import plait

LIMIT = 60


def tell():
    process = multiprocessing.current_process()
    return process.pid, process.name, process.daemon


def test_a_handle_says_what_its_worker_says():
    with plait.ProcessPoolExecutor(1) as pool:
        told = pool.submit(tell).result(LIMIT)
        [(pid, handle)] = pool._processes.items()
        assert (pid, handle.name, handle.daemon) == told
        assert handle.exitcode is None
        assert repr(handle) == f"<WorkerProcess name={handle.name!r} pid={pid} started>"
    handle.join(LIMIT)
    assert (handle.is_alive(), handle.exitcode) == (False, 0)
    assert repr(handle).endswith(" stopped exitcode=0>")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_handle_knows_which_signal_has_ended_its_worker(tmp_path, number):
    with plait.ProcessPoolExecutor(2) as pool:
        gone = [pool.submit(wait_for_file, tmp_path / "never") for _ in range(2)]
        until(lambda: all(future.running() for future in gone))
        handles = list(pool._processes.values())
        for handle in handles:
            os.kill(handle.pid, number)
        for handle in handles:
            handle.join(LIMIT)
            assert handle.exitcode == -number
        assert {type(future.exception(LIMIT)) for future in gone} == {plait.WorkerDied}


def test_a_handle_knows_the_exit_code():
    with plait.Pool(1) as pool:
        [handle] = pool._pool
        result = pool.apply_async(os._exit, (7,))
        handle.join(LIMIT)
        assert handle.exitcode == 7
        with pytest.raises(plait.WorkerDied):
            result.get(LIMIT)
