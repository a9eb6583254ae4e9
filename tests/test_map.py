"""`ProcessPoolExecutor.map`: how its input is read, and what becomes of it."""

import concurrent.futures
import contextlib
import gc
import heapq
import itertools
import os
import random
import re
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks import meet, timeouts, until, wait_for_file
from work import Weak, fail_at, make_weak, meet_all, negated, same, touch

import plait
from plait._mapping.feed import LOOKAHEAD, Feed
from plait._mapping.inputs import copy
from plait._mapping.reading import READING
from plait._mapping.sizing import Sizer

LIMIT = 60


class Counted:
    """An input without end that knows how much of it was taken."""

    def __init__(self, end: int | None = None) -> None:
        self.taken = 0
        self.end = end
        self.threads: set[int] = set()

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> int:
        if self.taken == self.end:
            raise StopIteration
        self.taken += 1
        self.threads.add(threading.get_ident())
        return self.taken - 1


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(), max_size=300),
    st.sampled_from([list, tuple, iter, deque]),
    st.none() | st.integers(1, 50),
    st.none() | st.integers(1, 50),
)
def test_it_is_the_map_of_the_builtins(pool, items, kind, chunksize, buffersize):
    results = pool.map(negated, kind(items), chunksize=chunksize, buffersize=buffersize)
    assert list(results) == [-x for x in items]


def test_several_inputs_end_with_the_shortest(pool):
    assert list(pool.map(pow, [2, 3, 4], itertools.count(2))) == [4, 27, 256]
    assert list(pool.map(pow, (2, 3, 4), [5, 2])) == [32, 9]
    assert list(pool.map(same, [])) == []
    assert list(pool.map(same)) == []


def test_an_input_that_is_none_is_refused_at_once(pool):
    with pytest.raises(TypeError, match="iter"):
        pool.map(same, 5)
    with pytest.raises(TypeError, match="iter"):
        pool.map(pow, [1], 5)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1"),
        ({"chunksize": -1}, ValueError, "chunksize must be >= 1"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0"),
        ({"buffersize": 2.0}, TypeError, "buffersize must be an integer or None"),
        ({"buffersize": "foo"}, TypeError, "buffersize must be an integer or None"),
    ],
)
def test_bad_options_are_refused_as_by_the_standard_map(pool, options, error, text):
    with pytest.raises(error, match=text):
        pool.map(same, [1], **options)


def test_an_input_without_end_is_read_as_far_as_needed(pool):
    numbers = Counted()
    results = pool.map(negated, numbers)
    assert next(results) == 0
    assert numbers.taken <= 1 + LOOKAHEAD
    assert [next(results) for _ in range(20_000)] == [-n for n in range(1, 20_001)]
    assert numbers.taken <= 20_001 + LOOKAHEAD
    assert numbers.threads == {threading.get_ident()}
    results.close()
    assert list(results) == []
    taken = numbers.taken
    assert pool.submit(same, 1).result(LIMIT) == 1
    assert numbers.taken == taken


def test_it_reads_on_while_an_item_takes_long(pool, tmp_path):
    """The other workers must not run out of work while somebody waits for the first."""
    last = tmp_path / "last"

    def items():
        yield wait_for_file, last
        for n in range(1_000):
            yield same, n
        yield touch, last

    results = pool.map(lambda call: call[0](call[1]), items())
    assert next(results) == "last"
    assert list(results) == [*range(1_000), None]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_buffer_is_never_exceeded(pool, size):
    numbers = Counted()
    results = pool.map(same, numbers, buffersize=size)
    assert numbers.taken == size
    for n in range(300):
        assert next(results) == n
        assert numbers.taken <= n + 1 + size
    results.close()


def test_a_buffer_is_not_filled_again_by_a_shutdown():
    numbers = Counted()
    with plait.ProcessPoolExecutor(2) as pool:
        results = pool.map(same, numbers, buffersize=4)
    assert numbers.taken == 4
    assert list(itertools.islice(results, 4)) == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(results)


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("wait", [True, False])
def test_what_was_accepted_is_run_before_a_shutdown(kind, wait):
    pool = plait.ProcessPoolExecutor(2)
    results = pool.map(negated, kind(range(3_000)))
    pool.shutdown(wait=wait)
    assert list(results) == [-n for n in range(3_000)]
    pool.shutdown()


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_what_was_accepted_is_run_though_the_pool_is_dropped(kind):
    pool = plait.ProcessPoolExecutor(2)
    results = pool.map(negated, kind(range(3_000)))
    del pool
    assert list(results) == [-n for n in range(3_000)]


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_what_was_accepted_is_run_though_nobody_wants_the_results(kind, tmp_path):
    paths = [tmp_path / str(n) for n in range(500)]
    with plait.ProcessPoolExecutor(2) as pool:
        pool.map(touch, kind(paths))
        until(lambda: all(path.exists() for path in paths))


@pytest.mark.parametrize("source", ["range(100)", "iter(range(100))"])
def test_what_was_accepted_is_run_before_the_interpreter_exits(source):
    program = f"""if 1:
        import os, plait
        pool = plait.ProcessPoolExecutor(2)
        kept = pool.map(lambda n: os.write(1, b"%d\\n" % n), {source})
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert sorted(map(int, done.stdout.split())) == list(range(100))
    assert done.stderr == ""


def test_a_list_goes_on_while_nobody_looks(pool, tmp_path):
    paths = [tmp_path / str(n) for n in range(500)]
    results = pool.map(touch, paths)
    until(lambda: all(path.exists() for path in paths))
    assert list(results) == [None] * 500


def test_a_long_list_is_run_to_its_end_while_nobody_looks(pool, tmp_path):
    items = [*[0] * (2 * LOOKAHEAD), 1]
    end = tmp_path / "end"
    results = pool.map(lambda x: touch(end) if x else x, items)
    until(end.exists)
    assert sum(x == 0 for x in results) == 2 * LOOKAHEAD


def test_a_list_may_be_changed_afterwards(pool):
    items = list(range(5_000))
    results = pool.map(same, items)
    items.clear()
    assert list(results) == list(range(5_000))


def test_an_error_in_the_block_does_not_read_on():
    kept = []

    def fail():
        with plait.ProcessPoolExecutor(2) as pool:
            kept.append(pool.map(same, Counted()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    [results] = kept
    with pytest.raises(RuntimeError, match="after shutdown"):
        deque(results, maxlen=0)


def test_a_cancelled_shutdown_cancels_what_was_not_read(tmp_path):
    numbers = Counted()
    pool = plait.ProcessPoolExecutor(1)
    first = pool.submit(meet, tmp_path / "begun", tmp_path / "go")
    wait_for_file(tmp_path / "begun")
    results = pool.map(same, numbers)
    pool.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "go").touch()
    first.result(LIMIT)
    with pytest.raises(concurrent.futures.CancelledError):
        deque(results, maxlen=0)
    pool.shutdown()


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1_000])
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_an_exception_comes_in_its_place_and_ends_it(pool, kind, chunksize):
    results = pool.map(fail_at, itertools.repeat(300, 900), kind(range(900)), chunksize=chunksize)
    assert list(itertools.islice(results, 300)) == list(range(300))
    with pytest.raises(ValueError, match="at 300") as caught:
        next(results)
    assert "in fail_at" in caught.value.__notes__[-1]
    with pytest.raises(StopIteration):
        next(results)


def test_an_exception_of_the_input_comes_in_its_place(pool):
    def items():
        yield from range(100)
        raise KeyError("input")

    results = pool.map(same, items())
    assert list(itertools.islice(results, 100)) == list(range(100))
    with pytest.raises(KeyError, match="input"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_exception_of_the_very_first_item_is_raised_at_once(pool):
    def items():
        raise KeyError("input")
        yield

    with pytest.raises(KeyError, match="input"):
        pool.map(same, items())


def test_a_stop_iteration_is_no_end(pool):
    def stop_at(x):
        if x == 40:
            raise StopIteration
        return x

    results = pool.map(stop_at, range(100), chunksize=20)
    assert list(itertools.islice(results, 40)) == list(range(40))
    # A generator turns it into this, the standard map's as well as ours.
    with pytest.raises(RuntimeError, match="StopIteration"):
        next(results)


@pytest.mark.parametrize("chunksize", [None, 10])
def test_what_cannot_be_pickled_fails_in_its_place(pool, chunksize):
    items = [*range(55), threading.Lock(), *range(5)]
    results = pool.map(same, items, chunksize=chunksize)
    assert list(itertools.islice(results, 55)) == list(range(55))
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        next(results)
    assert "argument 1 of" in caught.value.__notes__[-1]


def test_a_result_that_cannot_be_pickled_fails_in_its_place(pool):
    def lock_at(x):
        import threading

        return threading.Lock() if x == 55 else x

    results = pool.map(lock_at, range(60), chunksize=20)
    assert list(itertools.islice(results, 55)) == list(range(55))
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        next(results)
    assert any("while pickling the result" in note for note in caught.value.__notes__)


def test_it_times_out_and_ends(pool, tmp_path):
    go = tmp_path / "go"
    for items in ([go], iter([go]), iter([go, *[go] * 30])):
        results = pool.map(wait_for_file, items, timeout=0.05)
        with pytest.raises(TimeoutError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
    go.touch()


def test_a_timeout_names_what_has_not_come(pool, tmp_path):
    there = tmp_path / "there"
    there.touch()
    for make, what in (
        (lambda go: [there, go], "item 1"),
        (lambda go: [there, there, *[go] * 30], "items 2 to 31"),
        (lambda go: iter([there, *[go] * 500]), r"items 1 to \d+ and of what has not been read"),
    ):
        for timeout in timeouts(0.5):
            go = tmp_path / f"{len(what)} {timeout}"
            results = pool.map(wait_for_file, make(go), timeout=timeout, chunksize=1)
            with pytest.raises(TimeoutError) as caught:
                list(results)
            go.touch()
            told = rf"map of .*wait_for_file: .* of {what} .* {timeout:g} s;"
            # On a busy machine others may not have come, either.
            if re.search(told, str(caught.value)):
                break


def test_results_are_let_go_of(pool):
    for made in pool.map(make_weak, range(50), chunksize=10):
        reference = weakref.ref(made)
        del made
        gc.collect()
        assert reference() is None


def test_items_are_let_go_of(pool):
    items = [Weak() for _ in range(50)]
    references = [weakref.ref(item) for item in items]
    results = pool.map(id, iter(items))
    del items
    assert len(list(results)) == 50
    del results

    def gone():
        gc.collect()
        return not any(reference() for reference in references)

    # The results may be here before all callbacks of their chunks have run.
    until(gone, "that the items are let go of")


def test_closing_withdraws_what_has_not_begun(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        go = tmp_path / "go"
        running = pool.submit(meet, tmp_path / "begun", go)
        wait_for_file(tmp_path / "begun")
        paths = [tmp_path / str(n) for n in range(3)]
        for results in (pool.map(touch, paths), pool.map(touch, iter(paths))):
            results.close()
        go.touch()
        running.result(LIMIT)
    assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("end", ["close", "exception"])
def test_the_end_of_a_map_lets_run_what_has_begun(end, tmp_path):
    def fail_or_meet(mine):
        if mine is None:
            wait_for_file(tmp_path / "begun")
            raise ValueError("now")
        meet(mine, tmp_path / "go")
        (tmp_path / "done").touch()

    with plait.ProcessPoolExecutor(2) as pool:
        results = pool.map(fail_or_meet, [None, tmp_path / "begun"], chunksize=1)
        if end == "exception":
            with pytest.raises(ValueError, match="now"):
                next(results)
        else:
            wait_for_file(tmp_path / "begun")
            results.close()
        (tmp_path / "go").touch()
    assert (tmp_path / "done").exists()


def check_terms_of_items(kind, tmp_path, timeout):
    def work(x):
        if x == 3:
            wait_for_file(tmp_path / "never")
        if x == 5 and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise KeyError
        return -x

    (tmp_path / "tried").unlink(missing_ok=True)
    task = plait.task(work, timeout=timeout, retry_on=KeyError, retries=1)
    # What it imports is not to count.
    with plait.ProcessPoolExecutor(1, preload=["tasks"]) as pool:
        results = pool.map(task, kind([0, 1, 2, 4, 5, 3, 6]), chunksize=100)
        assert list(itertools.islice(results, 5)) == [0, -1, -2, -4, -5]
        with pytest.raises(plait.TaskTimeout):
            next(results)
    with plait.Pool(1) as pool:
        assert pool.apply(same, (1,)) == 1
        unbroken = pool.imap(task, kind([3, 6]))
        with pytest.raises(plait.TaskTimeout):
            next(unbroken)
        assert next(unbroken) == -6


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_terms_count_for_each_item(kind, tmp_path):
    # On a busy machine those may be late that are to be in time.
    for timeout in (1, 4):
        with contextlib.suppress(plait.TaskTimeout):
            check_terms_of_items(kind, tmp_path, timeout)
            return
    check_terms_of_items(kind, tmp_path, 16)


def test_breaking_out_of_a_loop_withdraws_what_has_not_begun():
    numbers = Counted()
    with plait.ProcessPoolExecutor(2) as pool:
        for result in pool.map(same, numbers):
            if result == 10:
                break
        taken = numbers.taken
    assert numbers.taken == taken


def test_a_dead_worker_fails_its_items(pool):
    def die_at(x):
        if x == 3:
            os._exit(7)
        return x

    results = pool.map(die_at, range(6), chunksize=1)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(plait.WorkerDied):
        next(results)


def test_coroutine_functions_are_awaited(pool):
    async def slowly(x):
        import asyncio

        await asyncio.sleep(0)
        return 1 // x

    assert list(pool.map(slowly, [1] * 50, chunksize=10)) == [1] * 50
    results = pool.map(slowly, [1, 0], chunksize=10)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_the_input_may_use_the_pool(pool):
    def items():
        for n in range(50):
            yield pool.submit(same, n).result(LIMIT)

    assert list(pool.map(negated, items())) == [-n for n in range(50)]


def test_a_slow_input_does_not_keep_results_back(pool, tmp_path):
    taken = 0

    def items():
        nonlocal taken
        for taken in itertools.count(1):
            if taken == 3:
                # By the time of the last of these, the first item is done here too.
                wait_for_file(tmp_path / "1")
                for _ in range(3):
                    pool.submit(same, 1).result(LIMIT)
            if taken >= 3:
                time.sleep(2 * READING)
            yield tmp_path / str(taken)

    results = pool.map(touch, items())
    assert next(results) is None
    assert taken < 10
    results.close()


def test_threads_may_share_the_results(pool):
    got: list[int] = []
    lock = threading.Lock()
    results = pool.map(same, iter(range(2_000)))

    def take():
        while True:
            with lock:
                result = next(results, None)
            if result is None:
                return
            got.append(result)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(2_000))


def test_a_callback_may_shut_down():
    pool = plait.ProcessPoolExecutor(2)
    results = pool.map(negated, range(2_000))
    ended = threading.Event()

    def close(future):
        pool.shutdown(wait=True)
        ended.set()

    pool.submit(same, 1).add_done_callback(close)
    assert list(results) == [-n for n in range(2_000)]
    assert ended.wait(LIMIT)


def test_copies_are_made_of_what_runs_no_code():
    class Mine(list):
        pass

    for items in ([1], (1,), {1}, {1: 2}, range(1), b"a", deque([1]), {1: 2}.values()):
        found = copy(items)
        assert found is not None
        assert list(found) == list(items)
    for items in (Mine([1]), iter([1]), Path("/").iterdir(), Counted()):
        assert copy(items) is None


class Simulated:
    """Workers that take the chunks of a feed in turn, in a time of their own.

    Each item is how many seconds it takes.
    """

    single = False

    def __init__(self, workers: int) -> None:
        self.free = [0.0] * workers
        self.queue: deque[tuple[plait.Future, list[float]]] = deque()

    def __call__(self, items: list[float]) -> list[tuple[plait.Future, list[float]]]:
        sent = (plait.Future(), items)
        self.queue.append(sent)
        return [sent]

    def run(self) -> float:
        """Return when the last ends."""
        ends: list[tuple[float, int, plait.Future, list[float]]] = []
        idle = [(0.0, worker) for worker in range(len(self.free))]
        now = 0.0
        while self.queue or ends:
            while self.queue and idle:
                since, worker = min(idle)
                idle.remove((since, worker))
                future, items = self.queue.popleft()
                # What a chunk costs beside its items.
                heapq.heappush(ends, (now + sum(items) + 2e-5, worker, future, items))
            now, worker, future, items = heapq.heappop(ends)
            idle.append((now, worker))
            future.set_result((sum(items), items, {}))
        return now


def one_by_one(sizes: list[float], workers: int) -> float:
    """Return when the last item ends if each goes by itself, at no cost, to who is free first."""
    free = [0.0] * workers
    for size in sizes:
        heapq.heappush(free, heapq.heappop(free) + size)
    return max(free)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("mean", [2e-4, 2e-3])
@pytest.mark.parametrize("workers", [2, 4])
def test_a_heavy_tail_is_shared_out_evenly(order, mean, workers):
    """What chunks save on the way must not be lost by waiting at the end."""
    chance = random.Random(7)
    sizes = sorted(mean * chance.lognormvariate(-1.0, 1.5) for _ in range(2_000))
    if order == "descending":
        sizes.reverse()
    elif order == "shuffled":
        chance.shuffle(sizes)
    simulated = Simulated(workers)
    feed = Feed(
        simulated,
        sizes,
        Sizer(workers, None),
        left=len(sizes),
        forget=lambda feed: None,
    )
    feed.advance()
    took = simulated.run()
    assert [size for chunk in feed.all_taken() for size in chunk.reply()[1]] == sizes
    assert took < one_by_one(sizes, workers) / 0.95


def test_a_submit_of_ones_own_sees_the_items_of_an_endless_input():
    class Counting(plait.ProcessPoolExecutor):
        calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(1) as pool:
        results = pool.map(same, itertools.count(), buffersize=3)
        assert list(itertools.islice(results, 20)) == list(range(20))
        assert 20 <= pool.calls <= 23
        results.close()


@pytest.mark.parametrize("made_by", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize("count", [2, 3])
def test_as_many_items_as_workers_run_at_once(tmp_path, made_by, count):
    names = [str(number) for number in range(count)]
    # With workers that have just been started, and that have done something.
    with plait.ProcessPoolExecutor(count) as pool:
        for turn in ("first", "second"):
            folder = tmp_path / turn
            folder.mkdir()
            paths = made_by([folder / name for name in names])
            assert list(pool.map(meet_all, paths, itertools.repeat(count))) == names
            # Calls so short that chunks grow.
            assert sum(pool.map(abs, range(500))) == sum(range(500))
    with plait.Pool(count) as pool:
        folder = tmp_path / "Pool"
        folder.mkdir()
        assert pool.starmap(meet_all, [(folder / name, count) for name in names]) == names
