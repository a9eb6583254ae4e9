"""A task that runs into its timeout is stopped, and no other pays for it."""

import asyncio
import os
import pickle
import signal
import subprocess
import threading
import time

import pytest
import tasks
from tasks import LIMIT, double, read_pid, timeouts, until, wait_for_file, wait_until_gone, write

import plait
from plait._worker import stopping


@pytest.fixture(scope="module")
def alone():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def pool(alone):
    # What the worker imports for its first task is not to count.
    assert alone.submit(double, 2).result(LIMIT) == 4
    return alone


def timed(fn, timeout=0.5, *, grace=LIMIT, **options):
    """Give a function a timeout, and a grace that no load makes too short."""
    return plait.task(fn, timeout=timeout, grace=grace, **options)


def stopped(pool, begun, fn, *args, grace=LIMIT):
    """Have a task stopped that has begun by then: it makes a file. Return the timeout, and how."""
    for timeout in timeouts(0.5):
        start = time.monotonic()
        error = pool.submit(timed(fn, timeout, grace=grace), *args).exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        assert time.monotonic() - start >= timeout + grace * error.worker_killed
        if begun.exists():
            break
    return timeout, error


@pytest.mark.parametrize("fn", [tasks.hang, tasks.doze])
def test_a_hung_task_is_stopped_and_cleans_up(pool, tmp_path, fn):
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    timeout, error = stopped(pool, begun, fn, begun, cleaned)
    assert isinstance(error, TimeoutError)
    assert f"{fn.__name__} was stopped at its timeout of {timeout:g} s" in str(error)
    assert "larger timeout" in str(error)
    assert (error.pid, error.worker_killed) == (read_pid(begun), False)
    assert timeout <= error.elapsed < LIMIT
    assert read_pid(cleaned) == error.pid
    # Where it hung.
    [note] = error.__notes__
    assert f"in {fn.__name__}" in note
    assert "inbound.py" not in note
    # The worker goes on.
    assert pool.submit(os.getpid).result(LIMIT) == error.pid


@pytest.mark.parametrize(
    "fn", [tasks.block_signals, tasks.swallow, tasks.sit_in_c], ids=lambda fn: fn.__name__
)
def test_one_that_does_not_stop_is_killed(pool, tmp_path, fn):
    begun = tmp_path / "begun"
    _, error = stopped(pool, begun, fn, begun, grace=0.1)
    assert error.worker_killed
    assert error.pid == read_pid(tmp_path / "begun")
    assert "did not stop by itself within 0.1 s" in str(error)
    assert pool.submit(os.getpid).result(LIMIT) != error.pid


def test_what_it_returns_when_stopped_does_not_count(pool, tmp_path):
    begun = tmp_path / "begun"
    _, error = stopped(pool, begun, tasks.give_in, begun)
    assert not error.worker_killed
    assert pool.submit(os.getpid).result(LIMIT) == error.pid


def test_what_it_raises_when_stopped_is_told(pool, tmp_path):
    begun = tmp_path / "begun"

    def clumsy():
        try:
            tasks.hang(begun)
        finally:
            raise ValueError("while cleaning up")

    _, error = stopped(pool, begun, clumsy)
    assert "while cleaning up" in error.__notes__[0]


def test_arguments_that_hang_count_too(pool):
    class Hangs:
        def __reduce__(self):
            return tasks.hang, ()

    error = pool.submit(timed(double), Hangs()).exception(LIMIT)
    assert type(error) is plait.TaskTimeout


def test_a_result_whose_pickling_hangs_counts_too(pool):
    class Hangs:
        def __reduce__(self):
            tasks.hang()

    error = pool.submit(timed(Hangs)).exception(LIMIT)
    assert type(error) is plait.TaskTimeout
    assert pool.submit(double, 2).result(LIMIT) == 4


def test_what_it_started_is_killed_with_it(pool, tmp_path):
    def start():
        child = subprocess.Popen(["sleep", "1000"])
        write(tmp_path / "child", child.pid)
        tasks.block_signals()

    _, error = stopped(pool, tmp_path / "child", start, grace=0)
    assert error.worker_killed
    wait_until_gone(read_pid(tmp_path / "child"))


def test_a_stopped_worker_is_ended(pool, tmp_path):
    for timeout in timeouts(0.5):
        begun = tmp_path / f"{timeout}"
        future = pool.submit(timed(tasks.hang, timeout, grace=0.2), begun)
        until(lambda: begun.exists() or future.done())
        pid = pool.statistics().workers[0].pid
        os.kill(pid, signal.SIGSTOP)
        error = future.exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        if error.worker_killed:
            break
        os.kill(pid, signal.SIGCONT)  # It had given in.
    assert pool.submit(double, 2).result(LIMIT) == 4


def test_the_time_before_it_begins_does_not_count(pool):
    for timeout in timeouts(0.3):
        first = pool.submit(time.sleep, 2 * timeout)
        futures = [pool.submit(timed(double, timeout), n) for n in range(10)]
        assert first.result(LIMIT) is None
        if not any(future.exception(LIMIT) for future in futures):
            break
    assert [future.result() for future in futures] == list(range(0, 20, 2))


def test_no_other_task_pays():
    def mostly_double(n):
        if n % 40 == 7:
            tasks.block_signals()
        return 2 * n

    with plait.ProcessPoolExecutor(2) as pool:
        hung = {n for n in range(100) if n % 3 and n % 40 == 7}
        for timeout in timeouts(1):
            fn = timed(mostly_double, timeout, grace=0)
            futures = [pool.submit(fn if n % 3 else double, n) for n in range(100)]
            errors = {n: e for n, future in enumerate(futures) if (e := future.exception(LIMIT))}
            assert {type(error) for error in errors.values()} == {plait.TaskTimeout}
            assert hung <= {n for n in errors if n % 3} == set(errors)
            if hung == set(errors):
                break


def test_tasks_that_end_at_their_deadline_hit_no_other():
    """A kill that races with a completion must not hit the next task."""

    def nearly(n, step):
        end = time.monotonic() + 0.005 + (n % 20 - 10) * step
        while time.monotonic() < end:
            pass
        return n

    raced = timed(nearly, 0.005)
    late, step = 0, 1e-5
    with plait.ProcessPoolExecutor(2) as pool:
        # None is late, and nothing raced, where who stops them is later: on to longer ones.
        while not late:
            futures = []
            for n in range(150):
                futures += [(n, pool.submit(raced, n, step)), (2 * n, pool.submit(double, n))]
            for n, (value, future) in enumerate(futures):
                error = future.exception(LIMIT)
                if error is None:
                    assert future.result() == value
                else:
                    assert type(error) is plait.TaskTimeout, error
                    assert not error.worker_killed
                    assert n % 2 == 0, "a task without a timeout was stopped"
                    late += 1
            step *= 2


def test_many_that_are_in_time():
    with plait.ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(timed(double, 30), n) for n in range(500)]
        assert [future.result(LIMIT) for future in futures] == list(range(0, 1000, 2))


def test_no_time_at_all(pool):
    assert type(pool.submit(timed(tasks.hang, 0)).exception(LIMIT)) is plait.TaskTimeout


def test_a_decorated_function_and_what_binds_it(pool):
    hang = timed(tasks.hang)

    class Slow:
        @plait.task(timeout=0.5, grace=LIMIT)
        def hang(self):
            tasks.hang()

    for fn in (hang, Slow().hang):
        assert type(pool.submit(fn).exception(LIMIT)) is plait.TaskTimeout


def test_its_name_is_told(pool):
    error = pool.submit(timed(tasks.hang, name="the long one")).exception(LIMIT)
    assert str(error).startswith("the long one was stopped")


def test_who_awaits_gets_it(pool):
    async def main():
        with pytest.raises(plait.TaskTimeout):
            await pool.submit(timed(tasks.hang))

    asyncio.run(main())


def test_each_item_has_a_deadline_of_its_own(pool):
    def items(durations):
        outcomes = []
        for seconds in durations:
            try:
                time.sleep(seconds)
                outcome = "done"
            except stopping.Stopped:
                outcome = "interrupted"
            outcomes.append((outcome, stopping.next_item()))
        return os.getpid(), outcomes

    # What it imports for the first time is not to count.
    pool.submit(items, [0]).result(LIMIT)
    fine, late = ("done", False), ("interrupted", True)
    for timeout in timeouts(0.5):
        # Together longer than the timeout, and one of them alone.
        short = timeout * 0.6
        pid, outcomes = pool.submit(timed(items, timeout), [short, short, 1000, short]).result()
        assert outcomes[2] == late
        if outcomes == [fine, fine, late, fine]:
            break
    assert pool.submit(os.getpid).result(LIMIT) == pid


def test_an_item_that_does_not_stop_ends_the_task(pool, tmp_path):
    begun = tmp_path / "begun"

    def items():
        stopping.next_item()
        tasks.block_signals(begun)

    _, error = stopped(pool, begun, items, grace=0)
    assert error.worker_killed


def test_threads_of_a_task_do_not_take_the_signal(pool, tmp_path):
    def with_thread():
        threading.Thread(target=wait_for_file, args=(tmp_path / "end",), daemon=True).start()
        tasks.doze(tmp_path / "begun")

    _, error = stopped(pool, tmp_path / "begun", with_thread)
    write(tmp_path / "end")
    assert not error.worker_killed


@pytest.mark.parametrize("kind", [plait.TaskTimeout, plait.Killed])
def test_the_exceptions_survive_pickling(kind):
    error = pickle.loads(pickle.dumps(kind("text", pid=3, elapsed=0.5, worker_killed=True)))
    assert type(error) is kind
    assert str(error) == "text"
    assert (error.pid, error.elapsed, error.worker_killed) == (3, 0.5, True)


def test_a_death_tells_how(pool):
    error = pool.submit(os._exit, 3).exception(LIMIT)
    assert (error.exitcode, error.signal) == (3, None)
    pid = pool.submit(os.getpid).result(LIMIT)
    error = pool.submit(os.kill, pid, signal.SIGKILL).exception(LIMIT)
    assert (error.exitcode, error.signal, error.pid) == (None, signal.SIGKILL, pid)
    assert pickle.loads(pickle.dumps(error)).signal == signal.SIGKILL


def test_an_import_is_not_left_half_done(pool, tmp_path, monkeypatch):
    """Others would find what a module had got done, and take it for the module."""

    def imports(name):
        import importlib
        import sys

        sys.path.insert(0, str(tmp_path))
        return importlib.import_module(name).part

    for n, timeout in enumerate(timeouts(0.5)):
        name = f"halfway{n}"
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text("from .part import *\nfrom .end import *\n")
        (package / "part.py").write_text("__all__ = ['part']\npart = 1\n")
        (package / "end.py").write_text(
            "import time\n"
            f"end = time.monotonic() + 2 * {timeout}\n"
            "while time.monotonic() < end: pass\n"
        )
        # There is none where the module was through before anybody stopped it.
        if error := pool.submit(timed(imports, timeout), name).exception(LIMIT):
            break
    assert type(error) is plait.TaskTimeout
    assert not error.worker_killed
    # The same worker, the same module.
    assert pool.submit(imports, name).result(LIMIT) == 1
    assert pool.submit(os.getpid).result(LIMIT) == error.pid


def without_builtins(caught):
    """Spin where nothing can be imported, as in the code of a named tuple."""
    try:
        exec("while True: pass", {"__builtins__": {}})
    except BaseException as error:
        write(caught, type(error).__name__)
        raise


async def without_builtins_in_a_loop(caught):
    without_builtins(caught)


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("fn", [without_builtins, without_builtins_in_a_loop])
def test_the_first_stop_of_a_worker_may_come_anywhere(tmp_path, fn, concurrency):
    caught = tmp_path / "caught"
    for timeout in timeouts(0.5):
        with plait.ProcessPoolExecutor(1, concurrency=concurrency) as pool:
            # What is imported for a task takes its time, too.
            pool.submit(asyncio.sleep, 0).result(LIMIT)
            error = pool.submit(timed(fn, timeout), caught).exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        # It is not there where the task was stopped before it came to the code.
        if caught.exists():
            break
    assert caught.read_text() == "Stopped"
