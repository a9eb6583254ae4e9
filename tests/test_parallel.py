"""`plait.parallel`: calls at the same time that cannot harm one another."""

import asyncio
import concurrent.futures
import os
import signal
import threading
import time

import pytest
from tasks import LIMIT, behave, meet, timeouts, until
from work import double, fail_until_third, square, write

import plait
from plait._parallel import workers


@pytest.fixture(autouse=True)
def few_pools(monkeypatch):
    # It is one of what the processes are started for, and is told of every phase of every test.
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)


@pytest.mark.parametrize("on", ["process", "thread", "serial", "auto"])
def test_outcomes_in_the_order_of_the_calls(on):
    outcomes = plait.parallel(square, range(20), on=on)
    assert [tuple(outcome)[:2] for outcome in outcomes] == [(True, x * x) for x in range(20)]
    for ok, _, duration, worker in outcomes:
        assert ok
        assert 0 <= duration < LIMIT
        if on in ("process", "auto"):
            assert isinstance(worker, int)
            assert worker != os.getpid()
        elif on == "thread":
            assert worker.startswith("plait-parallel_")
        else:
            assert worker == threading.current_thread().name
    assert plait.parallel(square, [], on=on) == []


def test_arguments():
    def call(*args, **kwargs):
        return args, kwargs

    calls = [(1, 2), {"a": 3}, "text", [4], ((5, 6),), (), {}]
    assert [outcome.value for outcome in plait.parallel(call, iter(calls))] == [
        ((1, 2), {}),
        ((), {"a": 3}),
        (("text",), {}),
        (([4],), {}),
        (((5, 6),), {}),
        ((), {}),
        ((), {}),
    ]


def test_coroutine_functions():
    for on in ("process", "loop", "auto"):
        assert [outcome.value for outcome in plait.parallel(double, [1, 2, 3], on=on)] == [2, 4, 6]

    async def main():
        with pytest.raises(RuntimeError, match="to_thread"):
            plait.parallel(double, [1], on="loop")
        [outcome] = await asyncio.to_thread(plait.parallel, double, [4], on="loop")
        return outcome.value

    assert plait.run(main()) == 8


def test_what_one_does_costs_the_others_nothing():
    hows = ["fine", "raise", "exit", "hang", "block", "die", "leave", "fine"]
    expected = [
        type(None),
        ValueError,
        SystemExit,
        plait.TaskTimeout,
        plait.TaskTimeout,
        plait.WorkerDied,
        plait.WorkerDied,
        type(None),
    ]
    for timeout in timeouts(1):
        outcomes = plait.parallel(behave, hows, timeout=timeout, grace=0.1)
        kinds = [type(outcome.error) for outcome in outcomes]
        # On a busy machine the others may be too late as well.
        late = [n for n, kind in enumerate(kinds) if kind is plait.TaskTimeout]
        if late == [3, 4] and outcomes[4].error.worker_killed:
            break
    assert kinds == expected
    assert [outcome.value for outcome in outcomes if outcome.ok] == ["fine", "fine"]
    assert all(isinstance(outcome.worker, int) for outcome in outcomes)
    assert timeout <= outcomes[3].duration < LIMIT
    assert outcomes[1].duration < timeout
    assert outcomes[5].error.signal == signal.SIGKILL
    assert outcomes[6].error.exitcode == 7
    assert "behave (call 6)" in str(outcomes[6].error)
    assert "in behave" in "".join(outcomes[1].error.__notes__)
    # The next ones find everything in order.
    assert [outcome.value for outcome in plait.parallel(square, range(3))] == [0, 1, 4]


def test_a_thread_that_hangs():
    for timeout in timeouts(0.2):
        hung, fine = plait.parallel(behave, ["hang", "fine"], on="thread", timeout=timeout)
        assert type(hung.error) is plait.TaskTimeout
        if fine.ok:
            break
    assert fine.value == "fine"


def test_what_cannot_travel_fails_alone():
    lock = threading.Lock()
    outcomes = plait.parallel(type, [1, lock, 3])
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert type(outcomes[1].error) is TypeError
    [outcome] = plait.parallel(threading.Lock, [()])
    assert type(outcome.error) is TypeError


def test_at_the_same_time(tmp_path):
    # Each waits for the one behind it.
    calls = [(tmp_path / str(x), tmp_path / str((x + 1) % 20)) for x in range(20)]
    assert all(outcome.ok for outcome in plait.parallel(meet, calls))


def test_so_many_at_the_same_time():
    lock, running, most = threading.Lock(), [], []

    def run(x):
        with lock:
            running.append(x)
            most.append(len(running))
        time.sleep(0.01)
        with lock:
            running.remove(x)

    plait.parallel(run, range(12), on="thread", workers=3)
    assert max(most) == 3


def test_retries(tmp_path):
    fn = plait.task(fail_until_third, retries=2)
    [outcome] = plait.parallel(fn, [tmp_path / "tries"])
    assert outcome[:2] == (True, 3)


def test_an_executor_of_somebody_else():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outcomes = plait.parallel(behave, ["fine", "raise"], on=pool)
        assert [outcome.ok for outcome in outcomes] == [True, False]
    with plait.ProcessPoolExecutor(1) as pool:
        [outcome] = plait.parallel(os.getpid, [()], on=pool)
        assert outcome.worker == outcome.value == pool.submit(os.getpid).result(LIMIT)
    # It is shut down.
    [outcome] = plait.parallel(square, [1], on=pool)
    assert type(outcome.error) is RuntimeError


def test_logs(tmp_path, capfd, caplog):
    folder = tmp_path / "some" / "logs"
    outcomes = plait.parallel(write, range(4), logs=folder)
    assert [outcome.ok for outcome in outcomes] == [True, False, False, True]
    assert sorted(path.name for path in folder.iterdir()) == [f"00{x}.log" for x in range(4)]
    for number in range(4):
        text = (folder / f"00{number}.log").read_text()
        for part in ("printed", "to stderr", "from a child", "logged"):
            assert f"{part} {number}\n" in text
        assert "WARNING some: logged" in text
        for other in set(range(4)) - {number}:
            assert f"printed {other}" not in text
    assert "ValueError: wrong" in (folder / "001.log").read_text()
    assert "WorkerDied" in (folder / "002.log").read_text()
    assert not any(capfd.readouterr())
    assert not caplog.records
    # The processes are as before, and the files are new.
    outcomes = plait.parallel(write, [3], logs=folder)
    assert "printed 3" in (folder / "000.log").read_text()
    assert "printed 0" not in (folder / "000.log").read_text()
    plait.parallel(print, ["to where workers write"])
    assert "to where workers write" in capfd.readouterr().out


def test_the_processes_are_kept(monkeypatch, tmp_path):
    calls = [(tmp_path / "one", tmp_path / "two"), (tmp_path / "two", tmp_path / "one")]
    before = {outcome.worker for outcome in plait.parallel(meet, calls)}
    [outcome] = plait.parallel(os.getpid, [()])
    assert outcome.value in before
    monkeypatch.setenv("SOMETHING", "new")
    [outcome] = plait.parallel(os.getenv, ["SOMETHING"])
    assert outcome.value == "new"
    assert outcome.worker not in before
    # Those that nobody needs any more have ended.
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in before), "their end")
    pid = outcome.worker
    workers._kept._forget()
    until(lambda: not os.path.exists(f"/proc/{pid}"), "its end")


def test_ctrl_c_ends_the_calls(program):
    program.start(
        """
        import os, time, plait

        def run(x):
            announce(f"begun{x}")
            while True:
                time.sleep(0.01)

        try:
            plait.parallel(run, range(3))
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    pids = [int(program.wait_for(f"begun{x}")) for x in range(3)]
    program.watch()
    program.process.send_signal(signal.SIGINT)
    assert program.end() == (0, "interrupted\n", "")
    program.nothing_is_left()
    assert pids


def test_what_is_refused(tmp_path):
    for wrong, kind, text in [
        (lambda: plait.parallel(3, []), TypeError, "a task is a callable"),
        (lambda: plait.parallel(square, [], on="loop"), TypeError, "no coroutine function"),
        (lambda: plait.parallel(double, [], on="thread"), TypeError, "a coroutine function"),
        (lambda: plait.parallel(square, [], on="serial", timeout=1), ValueError, "timeout"),
        (lambda: plait.parallel(square, [], timeout=-1), ValueError, "at least 0"),
        (lambda: plait.parallel(square, [], workers=0), ValueError, "greater than 0"),
        (lambda: plait.parallel(square, [], on="thread", logs=tmp_path), ValueError, "processes"),
    ]:
        with pytest.raises(kind, match=text):
            wrong()


def test_twenty_run_at_the_same_time(tmp_path):
    """Each waits for the next one, and the last for the first."""
    calls = [(tmp_path / str(x), tmp_path / str((x + 1) % 20)) for x in range(20)]
    assert all(outcome.ok for outcome in plait.parallel(meet, calls, timeout=LIMIT))
