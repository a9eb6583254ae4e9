"""`on="auto"` beside a running loop: nothing holds the loop up, not even the look at the code."""

import asyncio
import contextvars
import threading

import pytest
from choosing import choose, here

import plait
from plait._auto import record
from plait._auto.analysis import Analysis

LIMIT = 60

seen = []
number = contextvars.ContextVar("number", default=0)


def submit(fn, *args):
    return plait.submit(fn, *args, on="auto")


def square(x):
    return x * x


def note(x):
    seen.append(x)
    return x


def call(fn, x):
    return fn(x)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Have every function be unknown."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})
    monkeypatch.setattr("plait._auto.analysis._analyses", {})
    yield
    seen.clear()


class Held:
    """A reading of code that goes on for as long as the test wants."""

    def __init__(self, monkeypatch):
        self.go = threading.Event()
        self.begun = threading.Event()
        self.threads = []
        monkeypatch.setattr(record, "Analysis", self.read)
        monkeypatch.setattr("plait._auto.analysis.Analysis", self.read)

    def read(self, function):
        analysis = Analysis(function)
        self.threads.append(threading.get_ident())
        self.begun.set()
        if not self.go.wait(LIMIT):
            raise AssertionError("the loop was held up")
        return analysis


@pytest.fixture
def held(monkeypatch):
    return Held(monkeypatch)


both = pytest.mark.parametrize("run", [plait.run, asyncio.run])


@both
def test_a_submit(held, run):
    async def main():
        futures = [submit(square, x) for x in range(9)]
        await asyncio.to_thread(held.begun.wait, LIMIT)
        futures += [submit(square, x) for x in range(9, 20)]
        assert not any(future.done() for future in futures)
        held.go.set()
        return await asyncio.gather(*futures)

    assert run(main()) == [x * x for x in range(20)]
    # One thread has read it for all, and not that of the loop.
    assert len(held.threads) == 1
    assert threading.get_ident() not in held.threads


@both
def test_a_group(held, run):
    async def main():
        async with plait.TaskGroup() as group:
            tasks = [group.submit(note, x, on="auto") for x in range(5)]
            held.go.set()
        return [task.result() for task in tasks]

    assert run(main()) == seen == list(range(5))
    assert threading.get_ident() not in held.threads


@both
@pytest.mark.parametrize("fn", [square, note])
def test_a_map(held, run, fn):
    async def main():
        results = plait.map(fn, range(50))
        first = asyncio.ensure_future(anext(results))
        await asyncio.to_thread(held.begun.wait, LIMIT)
        assert not first.done()
        held.go.set()
        return [await first, *[x async for x in results]]

    assert run(main()) == [fn(x) for x in range(50)]
    assert threading.get_ident() not in held.threads


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_functions_among_the_items_of_a_map(monkeypatch, method):
    choose(monkeypatch, method)
    fns = [square] * 40 + [note] + [square] * 40

    async def main():
        return [x async for x in plait.map(call, fns, range(81))]

    read = []

    class Read(Analysis):
        def __init__(self, function):
            super().__init__(function)
            read.append(threading.get_ident())

    monkeypatch.setattr(record, "Analysis", Read)
    monkeypatch.setattr("plait._auto.analysis.Analysis", Read)
    assert plait.run(main()) == [fn(x) for x, fn in enumerate(fns)]
    assert seen == [40, 40]
    assert read
    assert threading.get_ident() not in read


def test_a_function_among_the_arguments(held):
    async def main():
        held.go.set()
        await submit(call, square, 1)
        held.go.clear()
        held.begun.clear()
        future = submit(call, note, 2)
        await asyncio.to_thread(held.begun.wait, LIMIT)
        assert not future.done()
        held.go.set()
        return await future

    assert plait.run(main()) == 2
    assert threading.get_ident() not in held.threads
    assert "seen.append" in plait.explain(call).reason


def test_a_function_whose_callee_is_another_now(held, monkeypatch):
    def calls(x):
        return square(x)

    async def main():
        held.go.set()
        assert await submit(calls, 3) == 9
        held.go.clear()
        monkeypatch.setitem(globals(), "square", note)
        future = submit(calls, 3)
        assert not future.done()
        held.go.set()
        return await future

    assert plait.run(main()) == 3
    assert plait.explain(calls).decision == "serial"
    assert threading.get_ident() not in held.threads


def test_order_is_kept_while_some_were_not_read(held):
    async def main():
        held.go.set()
        await submit(note, 0)
        held.go.clear()

        def unread(x):
            seen.append(x)

        futures = [submit(fn, x) for x, fn in enumerate([unread, note, unread, note], 1)]
        held.go.set()
        await asyncio.gather(*futures)

    plait.run(main())
    assert seen == [0, 1, 2, 3, 4]


def test_what_may_go_anywhere_waits_for_nobody():
    go = threading.Event()

    def kept():
        seen.append("kept")
        return go.wait(LIMIT)

    def free(x):
        return x + 1

    async def main():
        first = submit(kept)
        # It was not read, and comes after one that goes on until this one has ended.
        assert await submit(free, 1) == 2
        go.set()
        assert await first

    plait.run(main())


def test_one_is_withdrawn_before_it_was_read(held):
    async def main():
        futures = [submit(note, x) for x in range(3)]
        assert futures[1].cancel()
        assert futures[1].cancelled()
        held.go.set()
        return [await futures[0], await futures[2]]

    assert plait.run(main()) == seen == [0, 2]


def test_what_goes_wrong_there_is_told(monkeypatch):
    class Wrong:
        def __init__(self, function):
            raise MemoryError("no room")

    monkeypatch.setattr(record, "Analysis", Wrong)

    async def main():
        with pytest.raises(MemoryError, match="no room"):
            await submit(square, 2)
        monkeypatch.setattr(record, "Analysis", Analysis)
        return await submit(square, 2), await submit(note, 2)

    assert plait.run(main()) == (4, 2)


@pytest.mark.parametrize("fn", ["free", "kept"])
def test_the_context_is_that_of_the_submit(held, fn):
    def free():
        return number.get()

    def kept():
        seen.append(1)
        return number.get()

    async def main():
        number.set(1)
        first = submit(free if fn == "free" else kept)
        number.set(2)
        second = submit(free if fn == "free" else kept)
        held.go.set()
        return await first, await second

    assert plait.run(main()) == (1, 2)


def test_a_timeout_counts_from_the_call(held):
    def spin():
        while True:
            pass

    fn = plait.task(spin, on="auto", timeout=0.05)

    async def main():
        future = plait.submit(fn)
        held.go.set()
        with pytest.raises(plait.TaskTimeout):
            await future

    plait.run(main())


def test_chunks_beside_a_loop_change_what_they_are_given_in_order(monkeypatch):
    choose(monkeypatch, "serial")

    def first(row):
        if len(row) > 1:
            row.append(here())
        return row[0]

    rows = [(x,) for x in range(50)] + [[x, x] for x in range(50, 100)]

    async def main():
        return [x async for x in plait.map(first, rows)]

    assert plait.run(main()) == list(range(100))
    assert all(len(row) == 3 for row in rows[50:])
