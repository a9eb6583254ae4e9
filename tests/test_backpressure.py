"""`max_pending=`: what waits is bounded, and who submits waits instead."""

import asyncio
import concurrent.futures
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from tasks import LIMIT, double, wait_for, wait_for_file, write

import plait


def in_thread(call):
    """Run `call` in a thread that a failed test does not wait for."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_no_more_than_that_wait(bound):
    with plait.ProcessPoolExecutor(2, max_pending=bound) as pool:
        futures, most = [], 0
        for n in range(200):
            futures.append(pool.submit(double, n))
            found = pool.statistics()
            most = max(most, found.queued + found.running)
        assert most <= 2 + bound
        assert [future.result(LIMIT) for future in futures] == list(range(0, 400, 2))


def test_submit_returns_when_there_is_room(tmp_path):
    with plait.ProcessPoolExecutor(1, max_pending=1) as pool:
        end = tmp_path / "end"
        pool.submit(wait_for, end)
        second = pool.submit(double, 2)
        third = in_thread(lambda: (pool.submit(double, 3), end.exists()))
        write(end)
        future, was_room = third.result(LIMIT)
        assert was_room, "it was accepted though there was none"
        assert (second.result(LIMIT), future.result(LIMIT)) == (4, 6)


def test_a_cancel_makes_room(tmp_path):
    with plait.ProcessPoolExecutor(1, max_pending=1) as pool:
        first = pool.submit(wait_for, tmp_path / "end")
        second = pool.submit(double, 2)
        third = in_thread(lambda: pool.submit(double, 3))
        assert second.cancel()
        future = third.result(LIMIT)
        assert not first.done()
        write(tmp_path / "end")
        assert future.result(LIMIT) == 6


def test_a_death_makes_room(tmp_path):
    def die():
        write(tmp_path / "begun")
        wait_for_file(tmp_path / "end")
        os._exit(1)

    with plait.ProcessPoolExecutor(1, max_pending=0) as pool:
        first = pool.submit(die)
        second = in_thread(lambda: pool.submit(double, 2))
        write(tmp_path / "end")
        assert second.result(LIMIT).result(LIMIT) == 4
        assert type(first.exception(LIMIT)) is plait.WorkerDied


@pytest.mark.parametrize("run", [asyncio.run, plait.run])
def test_the_thread_of_a_loop_is_told_at_once(tmp_path, run):
    async def main():
        futures = [pool.submit(wait_for, tmp_path / "end", n) for n in range(3)]
        with pytest.raises(queue.Full, match="max_pending"):
            pool.submit(double, 3)
        # Another thread waits, whatever its loop's.
        late = asyncio.ensure_future(asyncio.to_thread(pool.submit, double, 3))
        write(tmp_path / "end")
        assert await asyncio.gather(*futures) == [0, 1, 2]
        assert await (await late) == 6
        return await pool.submit(double, 4)

    with plait.ProcessPoolExecutor(1, max_pending=2) as pool:
        assert run(main()) == 8


def test_a_shutdown_releases_who_waits(tmp_path):
    pool = plait.ProcessPoolExecutor(1, max_pending=0)
    first = pool.submit(wait_for, tmp_path / "end", 1)
    waiting = [in_thread(lambda: pool.submit(double, 2)) for _ in range(3)]
    pool.shutdown(wait=False)
    for future in waiting:
        assert isinstance(future.exception(LIMIT), RuntimeError)
        assert "shutdown" in str(future.exception())
    write(tmp_path / "end")
    assert first.result(LIMIT) == 1
    pool.shutdown()


def test_a_broken_pool_releases_who_waits(tmp_path):
    def initializer():
        wait_for_file(tmp_path / "end")
        raise ValueError("no")

    with plait.ProcessPoolExecutor(1, initializer=initializer, max_pending=0) as pool:
        first = pool.submit(double, 1)
        waiting = in_thread(lambda: pool.submit(double, 2))
        write(tmp_path / "end")
        broken = concurrent.futures.process.BrokenProcessPool
        assert isinstance(first.exception(LIMIT), broken)
        error = waiting.exception(LIMIT)
        # It may have come in between the failure of the first and of the pool.
        assert isinstance(error or waiting.result().exception(LIMIT), broken)


def test_ctrl_c_interrupts_who_waits(tmp_path):
    script = textwrap.dedent("""
        import pathlib, sys, time
        import plait

        def wait():
            path = pathlib.Path(sys.argv[1], "end")
            while not path.exists():
                time.sleep(0.01)

        pool = plait.ProcessPoolExecutor(1, max_pending=0)
        first = pool.submit(wait)
        try:
            pathlib.Path(sys.argv[1], "begun").touch()
            pool.submit(wait)
        except KeyboardInterrupt:
            print("interrupted", first.done())
        pathlib.Path(sys.argv[1], "end").touch()
        pool.shutdown()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    wait_for_file(tmp_path / "begun")
    # It may not wait yet: then the interrupt comes before, in the `try`.
    wait_until_asleep(process.pid)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT)
    assert (out, process.returncode) == ("interrupted False\n", 0)


def wait_until_asleep(pid):
    """Wait until the main thread of a process sleeps."""
    state = ""
    while state != "S":
        with open(f"/proc/{pid}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(("bound", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_a_bad_bound_is_refused(bound, error):
    with pytest.raises(error, match="max_pending"):
        plait.ProcessPoolExecutor(1, max_pending=bound)
