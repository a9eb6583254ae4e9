"""`plait.map` of functions that stay where they are called: each call when its result is wanted."""

import contextvars
import threading

import pytest

import plait

LIMIT = 60

seen = []
number = contextvars.ContextVar("number", default=0)


@pytest.fixture(autouse=True)
def nothing_seen():
    seen.clear()


def note(x):
    seen.append(x)
    return x


def fail_at_threes(x):
    seen.append(x)
    if x % 3 == 0:
        raise ValueError(x)
    return x


def test_several_iterables():
    def both(x, y):
        seen.append((x, y))
        return x + y

    assert list(plait.map(both, range(9), range(1, 99))) == [2 * x + 1 for x in range(9)]
    assert seen == [(x, x + 1) for x in range(9)]


def test_failures_are_raised_in_their_places():
    results = plait.map(fail_at_threes, range(10))
    for x in range(10):
        if x % 3:
            assert next(results) == x
        else:
            with pytest.raises(ValueError, match=str(x)) as raised:
                next(results)
            assert f"fail_at_threes): {x}" in raised.value.__notes__[0]
        assert seen == list(range(x + 1))
    assert list(results) == []


def test_failures_as_results():
    results = list(plait.map(fail_at_threes, range(10), return_exceptions=True))
    assert [getattr(x, "args", (x,))[0] for x in results] == list(range(10))
    assert all(isinstance(x, ValueError) for x in results[::3])


def test_what_the_input_raises_ends_the_map():
    def items():
        yield from range(5)
        raise OSError("gone")

    for returned in (True, False):
        results = plait.map(note, items(), return_exceptions=returned)
        assert [next(results) for _ in range(5)] == list(range(5))
        with pytest.raises(OSError, match="gone") as raised:
            next(results)
        assert not hasattr(raised.value, "__notes__")
        assert list(results) == []


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_what_would_end_an_iteration_ends_none(kind):
    def stop(x):
        seen.append(x)
        if x == 3:
            raise kind

    results = plait.map(stop, range(6))
    assert [next(results) for _ in range(3)] == [None] * 3
    with pytest.raises(RuntimeError, match=f"an item raised {kind.__name__}"):
        next(results)
    assert list(results) == [None, None]


@pytest.mark.parametrize("where", ["call", "input"])
def test_whoever_interrupts_it_hears_what_is_missing(where):
    def interrupt(x):
        seen.append(x)
        if x == 4 and where == "call":
            raise KeyboardInterrupt
        return x

    def items():
        yield from range(4)
        if where == "input":
            raise KeyboardInterrupt
        yield from range(4, 9)

    results = plait.map(interrupt, items())
    assert [next(results) for _ in range(4)] == list(range(4))
    with pytest.raises(KeyboardInterrupt):
        next(results)
    with pytest.raises(RuntimeError, match="items from number 4 on have not been sent"):
        next(results)
    assert list(results) == []


def test_a_call_that_asks_for_results_of_its_own_map():
    def ask(x):
        seen.append(x)
        return next(results) if x == 3 else x

    results = plait.map(ask, range(6), return_exceptions=True)
    taken = list(results)
    assert isinstance(taken.pop(3), ValueError)
    assert taken == [0, 1, 2, 4, 5]


def test_several_threads_are_given_each_result_once():
    running = []

    def alone(x):
        running.append(x)
        assert running == [x]
        seen.append(x)
        running.remove(x)
        return x

    results = plait.map(alone, range(2000))
    taken = [[] for _ in range(4)]
    threads = [threading.Thread(target=some.extend, args=(results,)) for some in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert seen == list(range(2000))
    assert sorted(x for some in taken for x in some) == seen


def test_each_call_has_a_context_of_its_own():
    def add(x):
        seen.append(x)
        number.set(number.get() + x)
        return number.get()

    results = plait.map(add, range(5))
    for x in range(5):
        number.set(10 * x)
        assert next(results) == 11 * x
        assert number.get() == 10 * x


def test_coroutines_that_it_returns_are_run():
    before = number.get()

    async def later(x):
        number.set(-1)
        return x

    def make(x):
        seen.append(x)
        return later(x) if x % 2 else x

    assert list(plait.map(make, range(6))) == list(range(6))
    assert number.get() == before


def test_it_is_left_midway():
    closed = []

    def items():
        try:
            yield from range(99)
        finally:
            closed.append(True)

    with plait.map(note, items()) as results:
        assert [next(results) for _ in range(5)] == list(range(5))
    assert list(results) == []
    del results
    assert seen == list(range(5))
    assert closed


def test_it_is_taken_by_for_and_then_by_a_coroutine():
    results = plait.map(note, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]

    async def main():
        return [x async for x in results]

    assert plait.run(main()) == [3, 4, 5]


def test_with_progress(capsys):
    assert list(plait.map(note, range(50), progress=True)) == list(range(50))
    assert "50" in capsys.readouterr().err
