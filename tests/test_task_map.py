"""`plait.map`: results one by one, from wherever the function runs."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import io
import itertools
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
from taking import outcomes
from tasks import meet, timeouts, until, wait_for_file
from work import double, square

import plait
from plait._mapping.feed import LOOKAHEAD
from plait._progress import lines

LIMIT = 60
PLACES = ["auto", "thread", "process", "serial"]

number = contextvars.ContextVar("number", default=0)


def fail_at_three(x):
    if x == 3:
        raise ValueError("three")
    return x


async def fail_at_three_later(x):
    await asyncio.sleep(0)
    return fail_at_three(x)


def die_at(place, x):
    if x == place:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def hang_at_three(x):
    while x == 3:
        pass
    return x


def wait_for(path, x):
    if x == 0:
        wait_for_file(path)
    return x


class Unpicklable:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        raise TypeError("stays here")


class BadArrival:
    """Can be pickled; in the worker it raises."""

    def __reduce__(self):
        return int, ("no number",)


class Source:
    """An input that counts what is read of it."""

    def __init__(self, end=None):
        self.read = 0
        self.items = itertools.count() if end is None else iter(range(end))

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.read += 1
        return item


async def later_outcomes(results):
    taken = []
    while True:
        try:
            taken.append(await anext(results))
        except StopAsyncIteration:
            return taken
        except Exception as error:
            taken.append(error)


def notes(error):
    return "".join(getattr(error, "__notes__", ()))


# -- results ----------------------------------------------------------------


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("ordered", [True, False])
def test_results(on, ordered):
    results = list(plait.map(square, range(300), on=on, ordered=ordered))
    assert sorted(results) == [x * x for x in range(300)]
    if ordered:
        assert results == sorted(results)

    async def main():
        return [
            result
            async for result in plait.map(
                pow, iter(range(300)), itertools.repeat(3), on=on, ordered=ordered
            )
        ]

    for results in (plait.run(main()), asyncio.run(main())):
        assert sorted(results) == [x**3 for x in range(300)]


def test_coroutines_run_on_the_loop():
    assert list(plait.map(double, range(300))) == [2 * x for x in range(300)]

    async def main():
        threads = set()

        async def note(x):
            threads.add(threading.get_ident())
            return await double(x)

        results = [result async for result in plait.map(note, range(300), ordered=False)]
        assert threads == {threading.get_ident()}
        return results

    assert sorted(plait.run(main())) == [2 * x for x in range(300)]


def test_in_an_executor_of_somebody_else():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(plait.map(square, range(50), on=pool)) == [x * x for x in range(50)]
    with plait.ProcessPoolExecutor(1) as pool:
        assert set(plait.map(lambda _: os.getpid(), range(50), on=pool)) == {
            pool.submit(os.getpid).result(LIMIT)
        }


def test_where_auto_is():
    # More of it in test_auto_map.py.
    here = os.getpid()
    assert set(plait.map(lambda _: os.getpid(), range(9))) == {here}
    # What `plait.task` says counts.
    assert set(plait.map(plait.task(lambda _: os.getpid(), on="thread"), range(9))) == {here}
    assert here not in set(plait.map(in_process, range(9)))


@plait.task(on="process", name="whoever")
def in_process(_):
    return os.getpid()


def test_the_context_of_each_item_is_a_copy():
    def add(x):
        number.set(number.get() + x)
        return number.get()

    number.set(10)
    assert list(plait.map(add, range(5), on="thread")) == [10, 11, 12, 13, 14]
    assert number.get() == 10


def test_nothing_happens_before_the_first_step():
    source = Source()
    results = plait.map(square, source)
    assert source.read == 0
    assert iter(results) is results
    assert next(results) == 0
    # Others may have come far while the first was on its way.
    assert 0 < source.read <= 2 * LOOKAHEAD
    results.close()
    read = source.read
    assert list(results) == []
    assert source.read == read


@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("window", [1, 7])
@pytest.mark.parametrize("ordered", [True, False])
def test_the_window(on, window, ordered):
    source = Source(100)
    results = plait.map(square, source, on=on, window=window, ordered=ordered)
    taken = 0
    for _ in results:
        # The item whose result this is counts until the next step.
        assert source.read <= taken + window
        taken += 1
    assert taken == source.read == 100


def test_one_that_takes_long_stops_the_others_at_the_window_only(tmp_path):
    with plait.ThreadPoolExecutor(2) as pool:
        source, ended = Source(20), set()

        def run(x):
            wait_for(tmp_path / "go", x)
            ended.add(x)
            return x

        def release():
            until(lambda: ended == {1, 2, 3, 4}, "the others")
            (tmp_path / "go").touch()

        thread = threading.Thread(target=release)
        thread.start()
        results = plait.map(run, source, on=pool, window=5)
        assert next(results) == 0
        assert source.read == 5
        thread.join()
        assert list(results) == list(range(1, 20))


def test_without_order_one_that_takes_long_holds_up_nobody(tmp_path):
    with plait.ThreadPoolExecutor(2) as pool:
        results = plait.map(
            lambda x: wait_for(tmp_path / "go", x), range(20), on=pool, ordered=False
        )
        taken = [next(results) for _ in range(19)]
        assert sorted(taken) == list(range(1, 20))
        (tmp_path / "go").touch()
        assert list(results) == [0]


# -- failures ---------------------------------------------------------------


@pytest.mark.parametrize("on", PLACES)
def test_a_failure_has_its_place_and_names_its_item(on):
    taken = outcomes(plait.map(fail_at_three, range(10), on=on))
    error = taken[3]
    assert (type(error), str(error)) == (ValueError, "three")
    assert "In item 3 of plait.map(" in notes(error)
    assert notes(error).count("In item") == 1
    assert "fail_at_three): 3" in notes(error)
    assert [x for x in taken if x is not error] == [0, 1, 2, *range(4, 10)]
    returned = list(plait.map(fail_at_three, range(10), on=on, return_exceptions=True))
    assert repr(returned) == repr(taken)
    assert "In item 3" in notes(returned[3])


def test_a_failure_in_a_coroutine():
    async def main():
        taken = await later_outcomes(plait.map(fail_at_three_later, range(10)))
        assert repr(taken[3]) == "ValueError('three')"
        assert "In item 3" in notes(taken[3])
        return taken[4:]

    assert plait.run(main()) == list(range(4, 10))


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, asyncio.CancelledError])
@pytest.mark.parametrize("on", ["thread", "process"])
def test_what_would_end_the_iteration_does_not(kind, on):
    def fail(x):
        if x == 3:
            raise kind("odd")
        return x

    def check(taken):
        assert type(taken[3]) is RuntimeError
        assert type(taken[3].__cause__) is kind
        assert "In item 3" in notes(taken[3])
        assert len(taken) == 10

    check(outcomes(plait.map(fail, range(10), on=on)))
    check(plait.run(later_outcomes(plait.map(fail, range(10), on=on))))


@pytest.mark.parametrize("place", [0, 2222, 4999])
def test_a_worker_that_dies_costs_its_item_alone(place):
    with plait.ProcessPoolExecutor(2) as pool:
        taken = outcomes(plait.map(lambda x: die_at(place, x), range(5000), on=pool))
        assert type(taken[place]) is plait.WorkerDied
        assert f"In item {place} of" in notes(taken[place])
        assert [x for at, x in enumerate(taken) if at != place] == [
            x for x in range(5000) if x != place
        ]
        # In the order of their ends, too.
        results = plait.map(lambda x: die_at(place, x), iter(range(5000)), on=pool, ordered=False)
        taken = outcomes(results)
        [error] = [x for x in taken if not isinstance(x, int)]
        assert type(error) is plait.WorkerDied
        assert f"In item {place} of" in notes(error)
        assert sorted(x for x in taken if x is not error) == [x for x in range(5000) if x != place]


def test_what_cannot_be_unpickled_costs_its_item_alone():
    items = [*range(500), BadArrival(), *range(500)]
    taken = outcomes(plait.map(str, items, on="process"))
    assert [at for at, x in enumerate(taken) if not isinstance(x, str)] == [500]
    assert "In item 500 of" in notes(taken[500])


def test_what_cannot_be_pickled_costs_its_item_alone():
    for items in ([1, Unpicklable(2), 3], [1, 2, 3]):
        taken = outcomes(plait.map(Unpicklable, items, on="process"))
        assert [type(error) for error in taken] == [TypeError] * 3
        assert ["stays here" in str(error) for error in taken] == [True] * 3


def test_timeouts_are_of_each_item():
    for timeout in timeouts(0.3):
        fn = plait.task(hang_at_three, timeout=timeout, on="process")
        taken = outcomes(plait.map(fn, range(6)))
        assert type(taken[3]) is plait.TaskTimeout
        # On a busy machine others may be too late as well.
        if [type(x) for x in taken].count(plait.TaskTimeout) == 1:
            break
    assert "In item 3 of" in notes(taken[3])
    assert taken[:3] + taken[4:] == [0, 1, 2, 4, 5]


def test_what_the_input_raises_has_its_place():
    def read():
        yield from range(5)
        raise LookupError("no more")

    for on in PLACES:
        taken = outcomes(plait.map(square, read(), on=on, return_exceptions=True))
        assert repr(taken) == "[0, 1, 4, 9, 16, LookupError('no more')]"
        assert not notes(taken[5])


def test_an_interrupt_loses_nothing():
    def read():
        for x in range(8):
            if x == 5:
                raise KeyboardInterrupt
            yield x

    results = plait.map(square, read(), on="thread", window=2)
    taken = []
    with pytest.raises(KeyboardInterrupt):
        taken.extend(results)
    left = outcomes(results)
    assert [*taken, *left[:-1]] == [0, 1, 4, 9, 16]
    assert "items from number 5 on have not been sent" in str(left[-1])


def test_an_interrupt_of_a_wait_loses_nothing(program):
    program.start(
        """
        import signal, threading, time, plait
        from pathlib import Path

        def run(x):
            while x == 3 and not Path("go").exists():
                time.sleep(0.001)
            return x

        def interrupt():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        results = plait.map(run, range(9), on="thread")
        taken = []
        while True:
            try:
                if len(taken) == 3 and not Path("go").exists():
                    threading.Timer(0.2, interrupt).start()
                taken.append(next(results))
            except KeyboardInterrupt:
                print("interrupted")
                Path("go").touch()
            except StopIteration:
                break
        print(taken)
        """,
    )
    assert program.end() == (0, "interrupted\n[0, 1, 2, 3, 4, 5, 6, 7, 8]\n", "")


def test_a_pool_that_is_shut_down_ends_the_map():
    pool, source = plait.ThreadPoolExecutor(1), Source()
    results = plait.map(square, source, on=pool, window=3)
    assert next(results) == 0
    sent = source.read
    pool.shutdown()
    taken = outcomes(results)
    assert taken[:-1] == [x * x for x in range(1, sent)]
    assert type(taken[-1]) is RuntimeError
    assert "after shutdown" in str(taken[-1])


def test_items_that_a_shutdown_cancels(tmp_path):
    def run(x):
        if x == 0:
            meet(tmp_path / "begun", tmp_path / "go")
        return x

    with plait.ProcessPoolExecutor(1) as pool:

        def stop():
            wait_for_file(tmp_path / "begun")
            pool.shutdown(wait=False, cancel_futures=True)
            (tmp_path / "go").touch()

        thread = threading.Thread(target=stop)
        thread.start()
        taken = outcomes(plait.map(run, itertools.count(), on=pool))
        thread.join()
    assert taken[0] == 0
    *cancelled, last = [error for error in taken if not isinstance(error, int)]
    assert {type(error) for error in cancelled} == {concurrent.futures.CancelledError}
    assert (type(last), "after shutdown" in str(last)) == (RuntimeError, True)


# -- who takes results ------------------------------------------------------


def test_several_threads_may_take_results():
    results = plait.map(square, range(5000), on="thread", ordered=False)
    with plait.ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(lambda: list(results)) for _ in range(4)]
        merged = [x for future in taken for x in future.result(LIMIT)]
    assert sorted(merged) == [x * x for x in range(5000)]


def test_several_coroutines_may_take_results():
    async def take(results):
        return [x async for x in results]

    async def main():
        results = plait.map(double, range(500))
        parts = await asyncio.gather(*(take(results) for _ in range(4)))
        return sorted(x for part in parts for x in part)

    assert plait.run(main()) == [2 * x for x in range(500)]


def test_by_for_and_by_async_for():
    async def main():
        results = plait.map(square, range(200), on="process")
        taken = []
        for _ in range(50):
            taken.append(next(results))
            taken.append(await anext(results))
        taken += list(results)
        return taken

    assert plait.run(main()) == [x * x for x in range(200)]


def test_a_cancelled_step_loses_nothing():
    async def main():
        go = asyncio.Event()

        async def wait(x):
            if x == 3:
                await go.wait()
            return x

        results = plait.map(wait, range(6))
        taken = [await anext(results) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(results), 0.05)
        go.set()
        return taken + [x async for x in results]

    assert plait.run(main()) == list(range(6))


def test_the_loop_goes_on():
    async def main():
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(turn())

        def read():
            for x in range(30):
                time.sleep(0.002)
                yield x

        async for _ in plait.map(square, read(), on="thread"):
            pass
        other.cancel()
        assert turns >= 15

    plait.run(main())


def test_a_wait_in_the_thread_of_the_loop_is_refused():
    async def main():
        with pytest.raises(RuntimeError, match="use `async for`"):
            next(plait.map(double, [1]))

    plait.run(main())


def test_an_input_that_asks_for_results():
    def read():
        yield 1
        yield next(results)

    results = plait.map(square, read(), on="thread", window=1)
    assert next(results) == 1
    with pytest.raises(ValueError, match="of that very map"):
        next(results)


# -- the end ----------------------------------------------------------------


def test_dropping_withdraws_what_has_not_begun(tmp_path):
    begun = []

    def note(x):
        begun.append(x)
        wait_for_file(tmp_path / "go")

    with plait.ThreadPoolExecutor(1) as pool:
        results = plait.map(note, range(100), on=pool, window=50, ordered=False)
        taker = threading.Thread(target=next, args=(results, None))
        taker.start()
        until(lambda: begun, "the first")
        results.close()
        (tmp_path / "go").touch()
        taker.join()
    assert begun == [0]


def test_dropping_cancels_coroutines():
    async def main():
        cancelled = []

        async def wait(x):
            try:
                if x:
                    await asyncio.Event().wait()
            finally:
                cancelled.append(x)
            return x

        results = plait.map(wait, range(5))
        assert await anext(results) == 0
        del results
        while len(cancelled) < 5:
            await asyncio.sleep(0)
        async with contextlib.aclosing(plait.map(double, range(5))) as results:
            assert await anext(results) == 0
        assert [x async for x in results] == []

    plait.run(main())


def test_nothing_is_left_of_a_map():
    class Value:
        pass

    def run():
        value = Value()
        results = plait.map(lambda x: x, [value] * 50, on="thread")
        next(results)
        return weakref.ref(value)

    gone = run()
    until(lambda: gc.collect() is not None and gone() is None, "the end of the value")


def test_what_is_refused():
    for wrong, kind, text in [
        (lambda: plait.map(3, []), TypeError, "a task is a callable"),
        (lambda: plait.map(square), TypeError, "at least one iterable"),
        (lambda: plait.map(square, 3), TypeError, "argument 1 of map"),
        (lambda: plait.map(square, [], window=0), ValueError, "at least 1"),
        (lambda: plait.map(square, [], window=1.5), TypeError, "integer"),
        (lambda: plait.map(square, [], on="elsewhere"), ValueError, "on must be one of"),
        (lambda: plait.map(square, [], on="loop"), TypeError, "no coroutine function"),
        (lambda: plait.map(double, [], on="thread"), TypeError, "a coroutine function"),
    ]:
        with pytest.raises(kind, match=text):
            wrong()


# -- progress ---------------------------------------------------------------


def test_progress_where_there_is_no_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(lines, "EVERY", 0.01)
    results = plait.map(
        fail_at_three, Source(10), return_exceptions=True, progress=True, on="thread"
    )
    assert len(list(results)) == 10
    [last] = stream.getvalue().splitlines()[-1:]
    assert "fail_at_three: 10 in" in last
    assert last.endswith(", 1 failed")

    go = threading.Event()
    results = plait.map(lambda x: go.wait() if x else x, range(3), progress=True, on="thread")
    assert next(results) == 0
    until(lambda: "1 of 3 (33%) in" in stream.getvalue(), "a line")
    go.set()
    assert len(list(results)) == 2
    written = stream.getvalue()
    assert "3 of 3 (100%)" in written.splitlines()[-1]
    assert "failed" not in written.splitlines()[-1]


def test_progress_on_a_terminal(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import plait, time\n"
        "def run(x):\n"
        "    time.sleep(0.01)\n"
        "    if x == 3: raise ValueError\n"
        "print(len(list(plait.map(run, range(40), on='thread', progress=True,"
        " return_exceptions=True))))\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, program], stderr=theirs, stdout=subprocess.PIPE, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as stream:
            while data := stream.read(4096):
                shown += data
        assert process.stdout is not None
        assert process.stdout.read() == b"40\n"
    text = shown.decode()
    assert "40/40" in text
    assert "1 failed" in text
    # The cursor comes back.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
