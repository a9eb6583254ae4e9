"""`plait.map(on="auto")`: where the items go, and that this changes no result."""

import functools
import gc
import itertools
import operator
import os
import signal
import threading
import time
import types

import pytest
from choosing import choose, here
from taking import outcomes
from tasks import timeouts, wait_for_file

import plait
from plait._auto import pools
from plait._auto.records import record_of

LIMIT = 60

seen = []
factor = 3

where = plait.task(lambda _: here(), parallel_safe=True)


class Unpicklable:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        raise TypeError("stays here")


def die_at(place, x):
    if x == place:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def square(x):
    return x * x


def times(x):
    return x * factor


def note(x):
    seen.append(x)
    return len(seen)


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """Know no function, and leave no trace."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})
    yield
    seen.clear()


def in_coroutine(results):
    async def main():
        return [result async for result in results]

    return plait.run(main())


ways = pytest.mark.parametrize("take", [list, in_coroutine])
methods = pytest.mark.parametrize("method", ["serial", "thread", "process"])


@ways
@methods
def test_where(monkeypatch, take, method):
    choose(monkeypatch, method)
    first, *_ = take(plait.map(where, range(500)))
    mine = here()
    # The first ones are called in this process, here or beside the loop.
    assert first[0] == mine[0]
    assert (first == mine) is (take is list)
    while not record_of(where)[0].is_settled:
        # Until then calls are looked at in this process now and then.
        take(plait.map(where, range(500)))
    process, thread = take(plait.map(where, range(500)))[-1]
    assert (process != mine[0]) is (method == "process")
    if method == "serial":
        assert ((process, thread) == mine) is (take is list)
    elif method == "thread":
        assert thread != mine[1]


@ways
@methods
@pytest.mark.parametrize("ordered", [True, False])
def test_results(monkeypatch, take, method, ordered):
    choose(monkeypatch, method)
    results = take(plait.map(square, range(3000), ordered=ordered))
    assert sorted(results) == [x * x for x in range(3000)]
    if ordered:
        assert results == sorted(results)


@ways
@methods
def test_several_iterables_and_no_end(monkeypatch, take, method):
    choose(monkeypatch, method)
    assert take(plait.map(pow, range(300), itertools.repeat(2))) == [x * x for x in range(300)]
    results = plait.map(square, itertools.count(), window=9)
    if take is list:
        assert list(itertools.islice(results, 300)) == [x * x for x in range(300)]
    results.close()


@methods
def test_failures_are_raised_in_their_places(monkeypatch, method):
    choose(monkeypatch, method)

    def fail(x):
        if x % 7 == 3:
            raise ValueError(x)
        return x

    taken = outcomes(plait.map(fail, range(100)))
    assert [getattr(x, "args", (x,))[0] for x in taken] == list(range(100))
    failed = [x for x in taken if isinstance(x, ValueError)]
    assert len(failed) == 14
    assert all(f"In item {x.args[0]} of plait.map(" in "".join(x.__notes__) for x in failed)

    async def main():
        return [x async for x in plait.map(fail, range(100), return_exceptions=True)]

    assert [getattr(x, "args", (x,))[0] for x in plait.run(main())] == list(range(100))


@ways
@methods
def test_effects_come_one_after_another(monkeypatch, take, method):
    choose(monkeypatch, method)
    assert take(plait.map(note, range(200))) == list(range(1, 201))
    assert seen == list(range(200))
    assert plait.explain(note).decision == "serial"


def test_a_call_with_an_effect_is_made_when_its_result_is_wanted():
    read = []

    def items():
        for x in range(100):
            read.append(x)
            yield x

    results = plait.map(note, items())
    assert seen == []
    for number in range(1, 50):
        assert next(results) == number
        assert seen == read == list(range(number))
    results.close()
    assert seen == list(range(49))


@ways
@methods
def test_an_object_that_the_input_gives_out_again(monkeypatch, take, method):
    choose(monkeypatch, method)

    def items():
        buffer = [0]
        for x in range(100):
            buffer[0] = x
            yield buffer

    assert take(plait.map(sum, items())) == list(range(100))


@ways
@pytest.mark.parametrize("method", ["thread", "process"])
@pytest.mark.parametrize("form", ["tuple", "dict", "object"])
def test_an_object_in_items_that_the_input_gives_out_again(monkeypatch, take, method, form):
    choose(monkeypatch, method)

    def total(item):
        if form == "object":
            return sum(item.inner)
        return sum(item[0])

    def items():
        inner = []
        for x in range(60):
            inner.append(x)
            if form == "object":
                yield types.SimpleNamespace(inner=inner)
            else:
                yield (inner, x) if form == "tuple" else {0: inner, 1: x}

    wanted = [sum(range(x + 1)) for x in range(60)]
    assert take(plait.map(total, items())) == wanted


@ways
@pytest.mark.parametrize("method", ["thread", "process"])
def test_keywords_that_a_partial_adds(monkeypatch, take, method):
    choose(monkeypatch, method)

    def put(x, store):
        store[x] = len(store)
        return store[x]

    store = {}
    assert take(plait.map(functools.partial(put, store=store), range(60))) == list(range(60))
    assert list(store) == list(range(60))


@ways
@methods
def test_results_that_are_in_what_was_given(monkeypatch, take, method):
    choose(monkeypatch, method)
    rows = [[[x], {"a": [x]}] for x in range(60)]
    for fn in (operator.itemgetter(0), operator.itemgetter(slice(0, 1))):
        taken = take(plait.map(fn, rows))
        assert taken == [fn(row) for row in rows]
        inner = [found[0] if type(found[0]) is list else found for found in taken]
        assert all(one is row[0] for one, row in zip(inner, rows, strict=True))


@methods
def test_an_exit_that_was_caught_is_not_lost(monkeypatch, method, caplog):
    choose(monkeypatch, "serial" if method == "process" else method)
    calls = []

    def leave(x):
        if method == "serial":
            calls.append(x)
        if x == 2:
            raise SystemExit(3)
        return x

    with pytest.raises(SystemExit):
        list(plait.map(leave, range(9)))
    gc.collect()
    assert not caplog.records


@ways
@methods
def test_maps_in_maps(monkeypatch, take, method):
    choose(monkeypatch, method, width=2)

    def cell(x):
        return x * x

    def row(n):
        return sum(plait.map(cell, range(n)))

    def block(n):
        return sum(plait.map(row, range(n)))

    assert take(plait.map(row, range(40))) == [sum(map(cell, range(n))) for n in range(40)]
    assert take(plait.map(block, range(9))) == [sum(map(row, range(n))) for n in range(9)]


def test_threads_of_a_map_are_the_next_ones(monkeypatch):
    choose(monkeypatch, "thread")
    monkeypatch.setattr(pools, "_free", {})
    leases = []

    class Lease(pools.Lease):
        def __init__(self, width):
            super().__init__(width)
            leases.append(self.pool)

    monkeypatch.setattr(pools, "Lease", Lease)
    for _ in range(3):
        list(plait.map(where, range(300)))
    assert len(leases) >= 3
    assert len(set(map(id, leases))) == 1
    assert list(pools._free.values()) == leases[:1]
    # One that is left midway, and goes on (one by one, for its terms), leaves none.
    go, begun = threading.Event(), threading.Event()

    def wait(x):
        if x >= 20:
            begun.set()
            go.wait(LIMIT)
        return x

    results = plait.map(plait.task(wait, parallel_safe=True, retries=1), range(40))
    try:
        assert list(itertools.islice(results, 20)) == list(range(20))
        assert begun.wait(LIMIT)
        assert not pools._free
        results.close()
        assert not pools._free
    finally:
        go.set()


@ways
@pytest.mark.parametrize("method", ["thread", "process"])
def test_items_that_can_be_changed_are_looked_at(monkeypatch, take, method):
    choose(monkeypatch, method)

    def first(row):
        found = row[0]
        if len(row) > 1:
            row.append(found)
        return found

    rows = [(x,) for x in range(50)] + [[x, x] for x in range(50, 100)]
    assert take(plait.map(first, rows)) == list(range(100))
    assert rows[50:] == [[x, x, x] for x in range(50, 100)]


@ways
def test_items_that_cannot_be_pickled(monkeypatch, take):
    choose(monkeypatch, "process")
    items = [*range(50), Unpicklable(50), *range(51, 100)]
    value = plait.task(lambda x: getattr(x, "value", x), parallel_safe=True)
    assert take(plait.map(value, items)) == list(range(100))


@ways
def test_globals_that_are_others_in_processes(monkeypatch, take):
    choose(monkeypatch, "process")
    assert take(plait.map(times, range(200))) == [3 * x for x in range(200)]
    monkeypatch.setattr(f"{__name__}.factor", 4)
    assert take(plait.map(times, range(200))) == [4 * x for x in range(200)]
    assert plait.explain(times).reason == (
        f"reads `{__name__}.factor`, which processes have another value of"
    )


@methods
def test_each_call_is_made_once(monkeypatch, tmp_path, method):
    choose(monkeypatch, method)
    path = str(tmp_path / "calls")

    def call(x):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"%d\n" % x)
        vars(os)["close"](file)

    call = plait.task(call, parallel_safe=True)
    assert list(plait.map(call, range(500))) == [None] * 500
    with open(path) as file:
        assert sorted(map(int, file)) == list(range(500))


def test_a_worker_that_dies_costs_its_own_item(monkeypatch):
    choose(monkeypatch, "process")
    call = plait.task(die_at, parallel_safe=True)
    taken = outcomes(plait.map(call, itertools.repeat(60), range(99)))
    assert [x for x in taken if not isinstance(x, plait.WorkerDied)] == [
        x for x in range(99) if x != 60
    ]


@methods
def test_terms(monkeypatch, method):
    choose(monkeypatch, method)
    attempts = []

    def third(x):
        attempts.append(x)
        if attempts.count(x) < 3:
            raise OSError
        return x

    assert list(plait.map(plait.task(third, retries=2), range(20))) == list(range(20))
    assert len(attempts) == 60
    again = plait.task(square, retries=1)
    assert list(plait.map(again, range(100))) == [x * x for x in range(100)]


@ways
def test_a_timeout_stops_an_item(take):
    # In here: a process need not import this module within the timeout.
    def hang_at_three(x):
        while x == 3:
            pass
        return x

    for timeout in timeouts(0.5):
        fn = plait.task(hang_at_three, timeout=timeout)
        taken = take(plait.map(fn, range(9), return_exceptions=True))
        assert type(taken.pop(3)) is plait.TaskTimeout
        # On a busy machine others may be too late as well.
        if plait.TaskTimeout not in map(type, taken):
            break
    assert taken == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_loop_is_never_blocked(tmp_path):
    go = tmp_path / "go"

    async def main():
        results = plait.map(wait_for_file, [str(go)] * 20)
        first = plait.submit(anext_of, results)
        go.touch()
        return [await first, *[x async for x in results]]

    async def anext_of(results):
        return await anext(results)

    assert plait.run(main()) == ["go"] * 20


def test_calls_that_wait_wait_at_once(monkeypatch, tmp_path):
    choose(monkeypatch, "thread", width=20)
    barrier = threading.Barrier(20)
    meet = plait.task(lambda x: x if x < 24 else barrier.wait(LIMIT), parallel_safe=True)
    while not record_of(meet)[0].is_settled:
        # Until then calls are looked at here now and then.
        assert list(plait.map(meet, range(24))) == list(range(24))
    assert sorted(plait.map(meet, range(24, 44))) == list(range(20))


@pytest.fixture
def more(monkeypatch):
    """Have more processes than cores, which no other test has."""
    monkeypatch.setattr(pools, "_more", None)
    pools.start_more_processes()
    pool, is_up = pools._more
    is_up.result(LIMIT)
    yield pool
    pools._more = None
    pool.shutdown()


def test_calls_that_wait_have_more_processes_than_there_are_cores(monkeypatch, tmp_path, more):
    template, width = more.submit(os.getppid).result(LIMIT), pools.width() + 1
    assert pools.wide() == (more._max_workers, True)
    assert width <= more._max_workers
    choose(monkeypatch, "process", width=width)

    def meet(x):
        """Wait, from the thirtieth item on, until so many processes do."""
        if x >= 30:
            (tmp_path / str(os.getpid())).touch()
            end = time.monotonic() + LIMIT
            while len(list(tmp_path.iterdir())) < width:
                assert time.monotonic() < end
                time.sleep(0.001)
        return os.getppid()

    # One by one, as calls are that are not short; then in chunks.
    for terms in {"retries": 1}, {}:
        task = plait.task(meet, parallel_safe=True, **terms)
        while not record_of(task)[0].is_settled:
            # Until then calls are looked at here now and then.
            assert len(list(plait.map(task, range(30)))) == 30
        assert set(plait.map(task, range(30, 60))) == {template}
    single = plait.task(meet, parallel_safe=True, retries=1)
    assert plait.submit(single, 1, on="auto").result(LIMIT) == template


def test_more_processes_are_given_up_where_the_program_has_changed(monkeypatch, more):
    wide = pools.width() + 1
    assert pools.processes(wide) is more
    assert pools.processes(1) is plait.default_executor("process")
    monkeypatch.setenv("PLAIT_TEST_OF_POOLS", "changed")
    assert pools.processes(wide) is plait.default_executor("process")
    assert pools.wide()[1] is False


def test_there_are_no_more_processes_than_the_users_own(monkeypatch, more):
    before = plait.default_executor("process")
    own = plait.ProcessPoolExecutor(1)
    plait.set_default_executor("process", own)
    try:
        assert pools.wide() == (0, False)
        assert pools.processes(8) is own
    finally:
        plait.set_default_executor("process", None)
        own.shutdown()
        before.shutdown()


def test_an_interrupt_is_not_the_failure_of_an_item(monkeypatch):
    choose(monkeypatch, "serial")

    def interrupt(x):
        if x == 50:
            raise KeyboardInterrupt
        return x

    results = plait.map(interrupt, range(100))
    with pytest.raises(KeyboardInterrupt):
        list(results)


def test_a_decision_is_remembered(monkeypatch):
    made = choose(monkeypatch, "thread")
    first, *_ = plait.map(where, range(50))
    assert first == here()
    assert plait.explain(where).width == 2
    # It is decided for each map, by its length; not by calls here.
    count = len(made)
    first, *_ = plait.map(where, range(50))
    assert first != here()
    assert len(made) > count


def test_decided_anew_until_two_decisions_agree(monkeypatch):
    made = choose(monkeypatch, "thread")
    # One by one, as calls are that are not short.
    single = plait.task(where, retries=1)
    list(plait.map(single, range(200)))
    assert 3 <= len(made) <= 20
    assert record_of(single)[0].is_settled
    count = plait.explain(single).measured
    list(plait.map(single, range(200)))
    assert plait.explain(single).measured == count


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_a_function_that_returns_a_coroutine(monkeypatch, method):
    choose(monkeypatch, method)

    async def later(x):
        return x + 1

    def make(x):
        return later(x)

    assert list(plait.map(make, range(40))) == list(range(1, 41))
    assert [plait.submit(make, x, on="auto").result() for x in range(40)] == list(range(1, 41))
    assert "returns a coroutine" in str(plait.explain(make).effects[0])
