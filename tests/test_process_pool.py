"""`plait.ProcessPoolExecutor`: the standard interface, and what it carries."""

import asyncio
import concurrent.futures.process
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from tasks import until

import plait

LIMIT = 60


def double(x):
    return 2 * x


def raise_from(text):
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError(text) from error


def wait_for_file(path: Path) -> None:
    while not path.exists():
        os.sched_yield()


def meet(directory, mine, all_of):
    """Return once every one of `all_of` has come here too."""
    (directory / str(mine)).touch()
    for other in all_of:
        wait_for_file(directory / str(other))
    return os.getpid()


def test_submit_returns_a_future_of_plait(pool):
    future = pool.submit(double, 21)
    assert isinstance(future, plait.Future)
    assert future.result(LIMIT) == 42
    assert isinstance(pool, concurrent.futures.Executor)


def test_keywords_and_positions_named_like_ours(pool):
    assert pool.submit(dict, fn=1, self=2).result(LIMIT) == {"fn": 1, "self": 2}


def test_it_runs_elsewhere(pool):
    assert pool.submit(os.getpid).result(LIMIT) != os.getpid()


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map_keeps_the_order(pool, chunksize):
    assert list(pool.map(double, range(10), chunksize=chunksize)) == list(range(0, 20, 2))
    assert list(pool.map(pow, [2, 3], [3, 2, 9], chunksize=chunksize)) == [8, 9]


def test_map_refuses_a_chunksize_below_one(pool):
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(double, [1], chunksize=0)


def test_map_times_out(pool, tmp_path):
    results = pool.map(wait_for_file, [tmp_path / "go"], timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    (tmp_path / "go").touch()


def test_an_exception_keeps_its_class_cause_and_traceback(pool):
    with pytest.raises(ValueError, match="outer") as caught:
        pool.submit(raise_from, "outer").result(LIMIT)
    error = caught.value
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__ is error.__context__
    assert "in raise_from" in error.__notes__[-1]
    assert "worker process" in error.__notes__[-1]


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
def test_an_exit_of_a_task_is_its_outcome(pool, exception):
    def leave():
        raise exception(3)

    future = pool.submit(leave)
    assert isinstance(future.exception(LIMIT), exception)
    assert pool.submit(double, 1).result(LIMIT) == 2


def test_large_arguments_and_results(pool):
    data = os.urandom(10_000_000)
    assert pool.submit(bytes.swapcase, data).result(LIMIT) == data.swapcase()


def test_many_results_of_every_size(pool):
    sizes = [0, 1, 60_000, 65_520, 65_528, 65_536, 262_144, 300_000, 1_000_003]
    futures = [pool.submit(bytes, size) for size in sizes * 3]
    assert [len(future.result(LIMIT)) for future in futures] == sizes * 3


def test_unread_results_stop_nobody(pool):
    kept = [pool.submit(bytes, 3_000_000) for _ in range(20)]
    assert pool.submit(double, 4).result(LIMIT) == 8
    assert all(len(future.result(LIMIT)) == 3_000_000 for future in kept)


def test_wait_and_as_completed(pool):
    futures = [pool.submit(double, n) for n in range(20)]
    done, not_done = concurrent.futures.wait(futures, LIMIT)
    assert len(done) == 20
    assert not not_done
    futures = {pool.submit(double, n) for n in range(20)}
    assert set(concurrent.futures.as_completed(futures, LIMIT)) == futures


def test_callbacks_are_called(pool):
    called = threading.Event()
    pool.submit(double, 1).add_done_callback(lambda future: called.set())
    assert called.wait(LIMIT)


@pytest.mark.parametrize("run", [asyncio.run, plait.run])
def test_coroutines_await_it(pool, run):
    async def main():
        first = await pool.submit(double, 1)
        second = await asyncio.wrap_future(pool.submit(double, 2))
        third = await asyncio.get_running_loop().run_in_executor(pool, double, 3)
        many = await asyncio.gather(*(pool.submit(double, n) for n in range(50)))
        return first, second, third, many

    assert run(main()) == (2, 4, 6, list(range(0, 100, 2)))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_n_tasks_on_n_workers_run_at_once(workers, tmp_path):
    with plait.ProcessPoolExecutor(workers) as pool:
        for turn in range(3):
            directory = tmp_path / str(turn)
            directory.mkdir()
            names = range(workers)
            futures = [pool.submit(meet, directory, name, names) for name in names]
            assert len({future.result(LIMIT) for future in futures}) == workers


def test_cancel_before_the_begin(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        pool.submit(meet, tmp_path, "ours", ["ours", "theirs"])
        wait_for_file(tmp_path / "ours")
        waiting = pool.submit(double, 1)
        last = pool.submit(double, 2)
        assert waiting.cancel()
        (tmp_path / "theirs").touch()
        assert last.result(LIMIT) == 4
        assert waiting.cancelled()


def test_shutdown_finishes_what_was_accepted():
    pool = plait.ProcessPoolExecutor(2)
    futures = [pool.submit(double, n) for n in range(50)]
    pool.shutdown()
    assert [future.result(0) for future in futures] == list(range(0, 100, 2))
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(double, 1)
    pool.shutdown()


def test_shutdown_can_cancel(tmp_path):
    pool = plait.ProcessPoolExecutor(1)
    running = pool.submit(meet, tmp_path, "ours", ["ours", "theirs"])
    wait_for_file(tmp_path / "ours")
    waiting = [pool.submit(double, n) for n in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    (tmp_path / "theirs").touch()
    assert running.result(LIMIT) != os.getpid()
    pool.shutdown()


def test_an_unused_pool_shuts_down():
    with plait.ProcessPoolExecutor(1):
        pass


def test_a_forgotten_pool_finishes_its_work():
    pool = plait.ProcessPoolExecutor(1)
    futures = [pool.submit(double, n) for n in range(20)]
    del pool
    assert [future.result(LIMIT) for future in futures] == list(range(0, 40, 2))


@pytest.mark.parametrize("count", [0, -1])
def test_too_few_workers(count):
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        plait.ProcessPoolExecutor(count)


def test_what_is_no_number_of_workers():
    with pytest.raises(TypeError, match="max_workers"):
        plait.ProcessPoolExecutor("two")
    with pytest.raises(TypeError, match="initializer"):
        plait.ProcessPoolExecutor(initializer=3)


def test_the_default_is_what_affinity_leaves():
    pool = plait.ProcessPoolExecutor()
    assert pool._max_workers == len(os.sched_getaffinity(0))
    pool.shutdown()


STATE = None


def set_state(value):
    global STATE
    STATE = value


def get_state():
    return STATE


def test_tasks_see_what_the_initializer_set():
    with plait.ProcessPoolExecutor(2, initializer=set_state, initargs=("set",)) as pool:
        assert {pool.submit(get_state).result(LIMIT) for _ in range(8)} == {"set"}
    assert STATE is None


def test_an_initializer_by_value():
    marker = "by value"
    with plait.ProcessPoolExecutor(1, initializer=lambda: set_state(marker)) as pool:
        assert pool.submit(get_state).result(LIMIT) == marker


def fail(text):
    raise LookupError(text)


def test_an_initializer_that_fails_breaks_the_pool():
    pool = plait.ProcessPoolExecutor(1, initializer=fail, initargs=("no such table",))
    future = pool.submit(double, 1)
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="no such table"):
        future.result(LIMIT)
    with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="LookupError"):
        pool.submit(double, 1)
    pool.shutdown()


def whoami():
    parent = multiprocessing.parent_process()
    return (
        multiprocessing.current_process().pid,
        parent.pid,
        parent.is_alive(),
        os.getpgid(0),
        sys.stdin.read(),
        multiprocessing.current_process().daemon,
    )


def test_a_worker_knows_who_it_is(pool):
    pid, parent, parent_lives, group, text, daemon = pool.submit(whoami).result(LIMIT)
    assert pid == group != os.getpid()
    assert parent == os.getpid()
    assert parent_lives
    assert text == ""
    assert not daemon


def test_a_worker_sees_the_parent_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAIT_TEST", "before")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["name", "argument"])
    monkeypatch.setattr(sys, "path", [*sys.path, "/no/such/place"])
    with plait.ProcessPoolExecutor(1) as pool:
        monkeypatch.setenv("PLAIT_TEST", "after")
        monkeypatch.chdir("/")
        look = lambda: (os.environ["PLAIT_TEST"], os.getcwd(), sys.argv, sys.path[-1])  # noqa: E731
        assert pool.submit(look).result(LIMIT) == (
            "before",
            str(tmp_path),
            ["name", "argument"],
            "/no/such/place",
        )


def test_a_worker_ignores_no_signal_that_the_parent_ignores():
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with plait.ProcessPoolExecutor(1) as pool:
            found = pool.submit(handlers).result(LIMIT)
            blocked = pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result(LIMIT)
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGINT, interrupt)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert found == [signal.default_int_handler, signal.SIG_DFL]
    assert blocked == set()


def test_generators_are_seeded_for_each_worker(tmp_path):
    def draw(directory, name, names):
        meet(directory, name, names)
        return random.random()

    with plait.ProcessPoolExecutor(3) as pool:
        futures = [pool.submit(draw, tmp_path, name, range(3)) for name in range(3)]
        assert len({future.result(LIMIT) for future in futures}) == 3


def fork_and_return():
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_a_task_forks_does_not_answer(pool):
    assert [pool.submit(fork_and_return).result(LIMIT) for _ in range(3)] == ["parent"] * 3


def test_threads_submit_at_once(pool):
    results = {}

    def submit(start):
        results[start] = [pool.submit(double, start + n).result(LIMIT) for n in range(50)]

    threads = [threading.Thread(target=submit, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {s: [2 * (s + n) for n in range(50)] for s in (0, 100, 200, 300)}


def test_partial_methods_and_classes(pool):
    assert pool.submit(partial(pow, 2), 5).result(LIMIT) == 32
    assert pool.submit("abc".upper).result(LIMIT) == "ABC"
    assert pool.submit(int, "7").result(LIMIT) == 7


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_many_pools_after_one_another_leak_nothing():
    def use():
        with plait.ProcessPoolExecutor(2) as pool:
            assert list(pool.map(double, range(4))) == [0, 2, 4, 6]

    def count():
        return (
            open_descriptors(),
            len(os.listdir("/proc/self/task")),
            Path("/proc/self/task", str(os.getpid()), "children").read_text(),
        )

    use()
    before = count()
    for _ in range(10):
        use()
    kept = [plait.ProcessPoolExecutor(1) for _ in range(3)]
    for pool in kept:
        pool.submit(double, 1)
        pool.shutdown()
    assert count() == before


def test_a_worker_has_only_its_own_descriptors():
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    with plait.ProcessPoolExecutor(4) as pool:
        os.close(inherited)
        list(pool.map(double, range(50)))
        # 0 to 2, the rings, the bell, the lifeline, the arenas, the pipe of records, and the
        # listing.
        assert {pool.submit(open_descriptors).result(LIMIT) for _ in range(8)} == {10}


def test_an_idle_pool_uses_no_processor():
    with plait.ProcessPoolExecutor(2) as pool:
        list(pool.map(double, range(10)))
        pids = [*pool._pool.pids(), os.getpid()]

        def switches():
            status = [
                task.joinpath("status").read_text()
                for pid in pids
                for task in Path("/proc", str(pid), "task").iterdir()
                if pid != os.getpid() or "plait-supervise" in task.joinpath("comm").read_text()
            ]
            lines = [line for text in status for line in text.splitlines()]
            return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

        def nothing_happens():
            before = switches()
            time.sleep(0.5)
            return switches() - before <= 1

        # The last answers may still be under way at first.
        until(nothing_happens, "a while in which nothing happens")


def test_what_a_map_takes_back_is_cancelled(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        running = pool.submit(wait_for_file, tmp_path / "go")
        waiting = [pool.submit(pow, 2, n) for n in range(5)]
        assert [future._withdraw() for future in waiting] == [True] * 5
        assert all(future.cancelled() for future in waiting)
        while not running.running():
            os.sched_yield()
        assert running._withdraw() is False
        (tmp_path / "go").touch()
        assert running.result(LIMIT) is None


def test_whether_it_is_broken_is_told_as_by_the_standard_executor():
    def fail():
        raise ValueError("unable")

    with plait.ProcessPoolExecutor(1) as pool:
        assert pool._broken is False
    assert pool._broken is False
    with plait.ProcessPoolExecutor(1, initializer=fail) as pool:
        pool.submit(abs, 1).exception(LIMIT)
        assert "unable" in pool._broken
