"""`concurrency=`: several coroutines at once in each worker."""

import asyncio
import contextlib
import contextvars
import functools
import logging
import os
import signal
import sys
import threading
import time
import warnings

import pytest
from tasks import timeouts

import plait

LIMIT = 20


@pytest.fixture(scope="module")
def pool():
    with plait.ProcessPoolExecutor(1, concurrency=50) as pool:
        yield pool
        # What a test that failed left running would be waited for.
        pool.terminate_workers()


@pytest.mark.parametrize("wrong", [0, -1])
def test_there_is_room_for_one_at_least(wrong):
    with pytest.raises(ValueError, match=f"concurrency must be at least 1, not {wrong}"):
        plait.ProcessPoolExecutor(1, concurrency=wrong)


@pytest.mark.parametrize("wrong", ["2", 2.0, None])
def test_it_is_an_integer(wrong):
    with pytest.raises(TypeError, match="concurrency must be an integer"):
        plait.ProcessPoolExecutor(1, concurrency=wrong)


# A busy machine must not have the worker killed, with those beside.
patiently = plait.task(grace=LIMIT)

inside = 0
most = 0
gates = {}


async def open_when_there(gate, path):
    while not path.exists():
        await asyncio.sleep(0.001)
    gate.set()


async def enter(path):
    """Be inside until there is a file."""
    if path not in gates:
        gates[path] = asyncio.Event()
        gates[path].opener = asyncio.create_task(open_when_there(gates[path], path))
    await gates[path].wait()
    return os.getpid()


def until(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("how", ["submit", "map"])
def test_as_many_are_inside_at_once(how, tmp_path):
    gate = tmp_path / "gate"
    with plait.ProcessPoolExecutor(2, concurrency=500) as pool:
        if how == "map":
            results = pool.map(enter, [gate] * 1000)
        else:
            futures = [pool.submit(enter, gate) for _ in range(1000)]
            results = (future.result(LIMIT) for future in futures)
        try:
            until(lambda: pool.statistics().running == 1000)
        finally:
            gate.touch()
        pids = list(results)
    assert sorted(map(pids.count, set(pids))) == [500, 500]


async def pass_through():
    global inside, most
    inside += 1
    most = max(most, inside)
    for _ in range(5):
        await asyncio.sleep(0)
    inside -= 1
    return most


def test_and_never_more():
    with plait.ProcessPoolExecutor(1, concurrency=3) as pool:
        seen = [future.result(LIMIT) for future in [pool.submit(pass_through) for _ in range(200)]]
    assert max(seen) == 3


@patiently
async def for_ever(begun=None):
    if begun is not None:
        begun.touch()
    await asyncio.Event().wait()


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def runs(future):
    until(future.running)
    return future


def exists(path):
    until(path.exists)


def test_one_that_lasts_does_not_hold_up_thousands(pool):
    lasting = runs(pool.submit(for_ever))
    for start in range(0, 3000, 100):
        futures = [pool.submit(double, x) for x in range(start, start + 100)]
        assert [future.result(LIMIT) for future in futures] == [
            2 * x for x in range(start, start + 100)
        ]
    assert lasting.running()
    assert lasting.cancel()
    with pytest.raises(plait.Killed):
        lasting.result(LIMIT)


def test_cancel_stops_exactly_that_one(pool):
    pid = pool.submit(os.getpid).result(LIMIT)
    futures = [runs(pool.submit(for_ever)) for _ in range(5)]
    assert futures[2].cancel()
    with pytest.raises(plait.Killed):
        futures[2].result(LIMIT)
    assert not futures[2].cancelled()
    assert all(futures[i].running() for i in (0, 1, 3, 4))
    assert pool.statistics().running == 4
    for i in (0, 1, 3, 4):
        assert futures[i].cancel()
        assert type(futures[i].exception(LIMIT)) is plait.Killed
    # No signal was too much for the worker.
    assert pool.submit(os.getpid).result(LIMIT) == pid


@patiently
async def stay(begun, told, gate):
    try:
        begun.touch()
        await asyncio.Event().wait()
    finally:
        told.touch()
        while not gate.exists():
            await asyncio.sleep(0.001)


def test_cancel_may_be_asked_again_until_it_has_ended(pool, tmp_path):
    begun, told, gate = (tmp_path / name for name in ("begun", "told", "gate"))
    future = pool.submit(stay, begun, told, gate)
    exists(begun)
    assert future.cancel()
    exists(told)
    assert future.cancel()
    gate.touch()
    assert type(future.exception(LIMIT)) is plait.Killed
    assert not future.cancel()


@patiently
async def tidy(path, begun):
    try:
        begun.touch()
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        path.touch()


def test_it_may_tidy_up(pool, tmp_path):
    future = pool.submit(tidy, tmp_path / "tidied", tmp_path / "begun")
    exists(tmp_path / "begun")
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
    assert (tmp_path / "tidied").exists()


def test_each_has_a_deadline_of_its_own(pool):
    long = pool.submit(plait.task(for_ever, timeout=600))
    short = [pool.submit(plait.task(for_ever, timeout=0.05 * n)) for n in (1, 2, 3)]
    for n, future in zip((1, 2, 3), short, strict=True):
        error = future.exception(LIMIT)
        assert type(error) is plait.TaskTimeout
        assert f"{0.05 * n:g} s" in str(error)
    assert long.running()
    assert long.cancel()
    assert type(long.exception(LIMIT)) is plait.Killed


def test_a_deadline_of_nothing(pool):
    assert type(pool.submit(plait.task(for_ever, timeout=0)).exception(LIMIT)) is plait.TaskTimeout


async def block(seconds, path):
    path.with_suffix(".begun").touch()
    try:
        time.sleep(seconds)  # noqa: ASYNC251 (that is what is tested)
    finally:
        path.touch()


def test_one_that_blocks_the_loop_is_interrupted(pool, tmp_path):
    beside = runs(pool.submit(for_ever))
    left = tmp_path / "left"
    for timeout in timeouts(0.1):
        future = pool.submit(plait.task(block, timeout=timeout, grace=LIMIT), 600, left)
        assert type(future.exception(LIMIT)) is plait.TaskTimeout
        # It is not there where the task was stopped before it came to block.
        if left.exists():
            break
    assert beside.running()
    assert beside.cancel()
    assert type(beside.exception(LIMIT)) is plait.Killed


def test_a_plain_function_is_interrupted_alone(pool, tmp_path):
    beside = runs(pool.submit(for_ever))
    future = pool.submit(patiently(time.sleep), 600)
    runs(future)
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
    assert beside.running()
    assert beside.cancel()
    assert type(beside.exception(LIMIT)) is plait.Killed


async def refuse(begun):
    begun.touch()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def once(path, value):
    try:
        path.open("x").close()
    except FileExistsError:
        return value
    return await asyncio.Event().wait()


def test_who_does_not_stop_takes_the_worker_along(tmp_path):
    with plait.ProcessPoolExecutor(1, concurrency=3) as pool:
        stubborn = pool.submit(plait.task(refuse, grace=0.05), tmp_path / "stubborn")
        victim = pool.submit(for_ever, tmp_path / "victim")
        again = pool.submit(plait.task(once, retries=1), tmp_path / "once", "retried")
        for name in ("stubborn", "victim", "once"):
            exists(tmp_path / name)
        waiting = pool.submit(double, 4)
        assert stubborn.cancel()
        error = stubborn.exception(LIMIT)
        assert type(error) is plait.Killed
        assert "by killing its worker" in str(error)
        error = victim.exception(LIMIT)
        assert type(error) is plait.WorkerDied
        assert "did not stop" in str(error)
        assert again.result(LIMIT) == "retried"
        assert waiting.result(LIMIT) == 8


def test_a_death_is_that_of_all_that_ran(tmp_path):
    async def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with plait.ProcessPoolExecutor(1, concurrency=4) as pool:
        beside = [pool.submit(for_ever, tmp_path / str(n)) for n in range(3)]
        for n in range(3):
            exists(tmp_path / str(n))
        ends = [pool.submit(die), *beside]
        assert {type(future.exception(LIMIT)) for future in ends} == {plait.WorkerDied}
        assert pool.submit(double, 1).result(LIMIT) == 2
        statistics = pool.statistics()
        assert (statistics.failed, statistics.restarts) == (4, 1)


async def fail(text):
    await asyncio.sleep(0)
    raise ValueError(text)


def test_exceptions_come_back_with_their_traceback(pool):
    futures = [pool.submit(fail, str(n)) for n in range(5)]
    for n, future in enumerate(futures):
        error = future.exception(LIMIT)
        assert type(error) is ValueError
        assert str(error) == str(n)
        (note,) = error.__notes__
        # Nothing of ours between.
        assert note.count('File "') == 1, note


def test_a_coroutine_that_exits_ends_itself_alone(pool):
    async def leave():
        raise SystemExit(3)

    async def interrupt():
        raise KeyboardInterrupt

    beside = runs(pool.submit(for_ever))
    with pytest.raises(SystemExit):
        pool.submit(leave).result(LIMIT)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(interrupt).result(LIMIT)
    assert beside.cancel()
    assert type(beside.exception(LIMIT)) is plait.Killed


def test_what_cannot_be_pickled_is_the_failure_of_its_task(pool):
    async def make():
        return threading.Lock()

    error = pool.submit(make).exception(LIMIT)
    assert isinstance(error, TypeError)
    assert any("while pickling the result" in note for note in error.__notes__)


def test_a_failure_is_tried_again(pool, tmp_path):
    async def flaky(path):
        await asyncio.sleep(0)
        try:
            path.open("x").close()
        except FileExistsError:
            return "again"
        raise ValueError("first")

    future = pool.submit(plait.task(flaky, retries=1), tmp_path / "flaky")
    assert future.result(LIMIT) == "again"


variable = contextvars.ContextVar("variable", default="unset")


def test_each_has_a_context_of_its_own(pool):
    async def change(to):
        before = variable.get()
        variable.set(to)
        for _ in range(5):
            await asyncio.sleep(0)
        return before, variable.get()

    futures = [pool.submit(change, n) for n in range(10)]
    assert [future.result(LIMIT) for future in futures] == [("unset", n) for n in range(10)]


def test_each_has_its_own_output(pool):
    async def talk(n):
        for turn in range(3):
            print(n, turn)
            print("error", n, file=sys.stderr)
            await asyncio.sleep(0)
        return await asyncio.to_thread(print, "thread", n)

    futures = [pool.submit(plait.task(talk, capture=True), n) for n in range(10)]
    for n, future in enumerate(futures):
        assert future.result(LIMIT) is None
        output = future.output
        assert output.stdout == "".join(f"{n} {turn}\n" for turn in range(3)) + f"thread {n}\n"
        assert output.stderr == f"error {n}\n" * 3


def test_output_of_one_that_is_stopped_and_of_a_plain_function(pool, tmp_path):
    @patiently
    async def talk(path):
        print("begun")
        path.touch()
        await asyncio.Event().wait()

    future = pool.submit(plait.task(talk, capture=True), tmp_path / "begun")
    exists(tmp_path / "begun")
    plain = pool.submit(plait.task(print, capture=True), "plain")
    plain.result(LIMIT)
    assert plain.output.stdout == "plain\n"
    assert future.cancel()
    assert type(future.exception(LIMIT)) is plait.Killed
    assert future.output.stdout == "begun\n"


def test_what_was_logged_is_handled_with_the_result(pool):
    async def log(n):
        logging.getLogger("concurrent").warning("at %d", n)
        for _ in range(n):
            await asyncio.sleep(0)

    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("concurrent")
    logger.addHandler(handler)
    try:
        futures = [pool.submit(log, n) for n in range(10)]
        for n, future in enumerate(futures):
            future.result(LIMIT)
            assert f"at {n}" in seen
    finally:
        logger.removeHandler(handler)


def test_large_arguments_and_results(pool):
    async def turn(data, delay):
        for _ in range(delay):
            await asyncio.sleep(0)
        return data[::-1]

    chunks = [bytes([n]) * 1_000_000 + b"end" for n in range(20)]
    futures = [pool.submit(turn, data, 20 - n) for n, data in enumerate(chunks)]
    assert [future.result(LIMIT) for future in futures] == [data[::-1] for data in chunks]


def test_plain_functions_run_outside_of_the_loop(pool):
    def run_one():
        return asyncio.run(double(3)), plait.run(double(4))

    beside = runs(pool.submit(for_ever))
    assert pool.submit(run_one).result(LIMIT) == (6, 8)
    assert pool.submit(functools.partial(double, 5)).result(LIMIT) == 10
    assert pool.submit(lambda: double("a")).result(LIMIT) == "aa"
    assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
    assert beside.cancel()
    assert type(beside.exception(LIMIT)) is plait.Killed


def test_workers_are_replaced_after_their_tasks():
    async def where():
        await asyncio.sleep(0.001)
        return os.getpid()

    with plait.ProcessPoolExecutor(2, concurrency=10, max_tasks_per_child=7) as pool:
        pids = [future.result(LIMIT) for future in [pool.submit(where) for _ in range(70)]]
    assert max(map(pids.count, set(pids))) <= 7


def test_a_worker_with_too_much_memory_leaves_when_all_have_ended(tmp_path):
    async def hoard(size):
        global kept
        kept = bytearray(os.urandom(1)) * size
        return os.getpid()

    async def wait_for(path):
        while not path.exists():
            await asyncio.sleep(0.001)
        return os.getpid()

    with plait.ProcessPoolExecutor(1, concurrency=3, max_memory=120_000_000) as pool:
        beside = runs(pool.submit(wait_for, tmp_path / "go"))
        pid = pool.submit(hoard, 130_000_000).result(LIMIT)
        after = pool.submit(os.getpid)
        (tmp_path / "go").touch()
        assert beside.result(LIMIT) == pid
        assert after.result(LIMIT) != pid


def test_shutdown_finishes_what_was_accepted():
    pool = plait.ProcessPoolExecutor(1, concurrency=5)
    futures = [pool.submit(double, n) for n in range(20)]
    pool.shutdown(wait=True)
    assert [future.result(0) for future in futures] == [2 * n for n in range(20)]


def test_shutdown_cancels_what_has_not_begun(tmp_path):
    async def wait_for(path, begun):
        begun.touch()
        while not path.exists():
            await asyncio.sleep(0.001)
        return "ran"

    pool = plait.ProcessPoolExecutor(1, concurrency=2)
    begun = [pool.submit(wait_for, tmp_path / "go", tmp_path / str(n)) for n in range(2)]
    for n in range(2):
        exists(tmp_path / str(n))
    waiting = [pool.submit(double, n) for n in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    (tmp_path / "go").touch()
    assert [future.result(LIMIT) for future in begun] == ["ran", "ran"]
    pool.shutdown(wait=True)


def test_as_many_calls_as_run_do_not_wait(tmp_path):
    gate = tmp_path / "gate"
    with plait.ProcessPoolExecutor(1, concurrency=20, max_pending=0) as pool:
        # The last would wait for ever.
        futures = [pool.submit(enter, gate) for _ in range(20)]
        until(lambda: pool.statistics().running == 20)
        gate.touch()
        assert len({future.result(LIMIT) for future in futures}) == 1


def test_plain_functions_on_workers_run_at_once(tmp_path):
    def meet(n):
        (tmp_path / str(n)).touch()
        end = time.monotonic() + LIMIT
        while not all((tmp_path / str(other)).exists() for other in range(2)):
            assert time.monotonic() < end
            time.sleep(0.001)
        return n

    with plait.ProcessPoolExecutor(2, concurrency=10) as pool:
        assert [f.result(LIMIT) for f in [pool.submit(meet, n) for n in range(2)]] == [0, 1]


def test_workers_that_are_executed(tmp_path, monkeypatch):
    (tmp_path / "threaded_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        # As they are here they are in the template, which warns.
        warnings.simplefilter("default")
        pool = plait.ProcessPoolExecutor(1, concurrency=5, preload=["threaded_module"])
    with pool:
        futures = [pool.submit(enter, tmp_path / "gate") for _ in range(5)]
        until(lambda: pool.statistics().running == 5)
        (tmp_path / "gate").touch()
        assert len({future.result(LIMIT) for future in futures}) == 1


def test_a_fork_within(pool):
    async def fork_quietly():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222 (it ends at once)

    assert pool.submit(fork_quietly).result(LIMIT) == 0
