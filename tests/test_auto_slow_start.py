"""Calls of a map that are made while its first is seen to wait."""

import functools
import gc
import itertools
import threading

import pytest
from choosing import choose, here

import plait
from plait._auto import measuring, pools, slow_start
from plait._auto.calling import Caller
from plait._auto.first_calls import FirstCalls
from plait._auto.measuring import Watch
from plait._auto.record import Record
from plait._auto.slow_start import SlowStart, _Watched
from plait._terms import DEFAULT

LIMIT = 60
FEW = slow_start._FEW

settings = {"depth": 3}
number = 3


def plain(x):
    return x + 1


def reads_settings(x):
    return x + settings["depth"]


def reads_a_number(x):
    # Nobody can change it, but it can be another number after the first call.
    return x + number


def has_a_default(x, y=number):
    return x + y


class Method:
    def __init__(self, number):
        self.number = number

    def plain(self, x):
        return x + self.number


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Know no function, and look at once."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})
    monkeypatch.setattr(slow_start, "_PATIENCE", 1e-4)
    monkeypatch.setattr(slow_start, "_TICK", 1e-4)
    # How long the first call takes is no matter.
    monkeypatch.setattr(Record, "is_short", False)


@pytest.fixture
def waiting(monkeypatch):
    """Have calls be seen to wait."""
    monkeypatch.setattr(SlowStart, "_are_waiting", lambda self: True)


@pytest.fixture
def undecided(monkeypatch):
    """Have no number of calls be enough to decide by."""
    monkeypatch.setattr(Record, "knows_enough", lambda self: False)


def in_coroutine(results):
    async def main():
        return [result async for result in results]

    return plait.run(main())


ways = pytest.mark.parametrize("take", [list, in_coroutine])


class Meeting:
    """Calls of which the first few are all there before one ends."""

    def __init__(self, count):
        self.barrier = threading.Barrier(count)
        self.lock = threading.Lock()
        self.running = self.most = 0
        self.made = []
        self.fn = plait.task(lambda x: self(x), parallel_safe=True)

    def __call__(self, x):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.made.append(x)
        if x < self.barrier.parties:
            self.barrier.wait(LIMIT)
        with self.lock:
            self.running -= 1
        return x, here()


@ways
@pytest.mark.parametrize("method", ["serial", "thread"])
def test_others_are_made_beside_the_first(monkeypatch, waiting, take, method):
    choose(monkeypatch, method)
    calls = Meeting(FEW)
    results = take(plait.map(calls.fn, range(5 * FEW)))
    assert [x for x, _ in results] == list(range(5 * FEW))
    assert sorted(calls.made) == list(range(5 * FEW))
    # Whoever takes the results makes the first, and only that; beside a loop, none.
    places = [place for _, place in results[:FEW]]
    assert (places[0] == here()) is (take is list)
    assert here() not in places[1:]


@ways
def test_no_more_than_a_few_are_made(waiting, undecided, take):
    calls = Meeting(FEW)
    assert len(take(plait.map(calls.fn, range(8 * FEW)))) == 8 * FEW
    assert calls.most == FEW


def test_they_are_a_part_of_those_that_there_are(waiting, undecided):
    count = 2 * FEW
    calls = Meeting(count)
    items = range(count * slow_start._PART)
    assert len(list(plait.map(calls.fn, items))) == len(items)
    assert calls.most == count


@ways
def test_a_window_holds(waiting, undecided, take):
    calls = Meeting(3)
    assert len(take(plait.map(calls.fn, range(30), window=3))) == 30
    assert calls.most == 3


@pytest.mark.parametrize(("seen", "begun"), [([False], 1), ([True, False], 2), ([None], 1)])
def test_none_are_made_beside_one_that_computes(monkeypatch, undecided, seen, begun):
    looked, made, count = threading.Event(), [], itertools.count()

    def are_waiting(self):
        number = next(count)
        if number < len(seen):
            return seen[number]
        looked.set()
        return seen[-1]

    monkeypatch.setattr(SlowStart, "_are_waiting", are_waiting)
    monkeypatch.setattr(SlowStart, "stop", _then(SlowStart.stop, looked))

    @plait.task(parallel_safe=True)
    def call(x):
        made.append(x)
        if x < begun:
            assert looked.wait(LIMIT)
            # Those that are made beside it have begun, or will.
            return len(made) <= begun
        return True

    assert all(plait.map(call, range(30)))
    assert sorted(made) == list(range(30))


def _then(original, event):
    def called(*args):
        try:
            return original(*args)
        finally:
            event.set()

    return called


def test_what_can_be_changed_is_made_by_itself(monkeypatch, undecided, waiting):
    assert not Caller(plain, DEFAULT).is_free(([],))
    held = 3
    for fn in (reads_settings, reads_a_number, Method(3).plain, lambda x: x + held):
        assert not Caller(fn, DEFAULT).is_free((1,))
    assert Caller(has_a_default, DEFAULT).is_free((1,))
    assert Caller(functools.partial(has_a_default, y=2), DEFAULT).is_free((1,))
    assert Caller(plain, DEFAULT).is_free((1, "name", (2.5, None)))
    assert Caller(plain, DEFAULT._replace(parallel_safe=True)).is_free(([],))

    asked, made = threading.Event(), []
    monkeypatch.setattr(FirstCalls, "_may", _then(lambda *_: False, asked))

    @plait.task(parallel_safe=True)
    def call(x):
        made.append(x)
        assert asked.wait(LIMIT)
        return len(made)

    assert list(plait.map(call, range(20))) == list(range(1, 21))


@pytest.mark.parametrize(
    "run",
    [
        lambda fn: plait.map(fn, (x for x in range(30))),
        lambda fn: plait.map(fn, range(30), itertools.repeat(1)),
        lambda fn: plait.map(fn, range(30), window=1),
    ],
    ids=["generator", "together", "window"],
)
def test_an_input_is_read_by_nobody_else(monkeypatch, undecided, run):
    read = []
    monkeypatch.setattr(SlowStart, "prepare", lambda self, *_: read.append(self))
    fn = plait.task(lambda *xs: xs[0], parallel_safe=True)
    assert list(run(fn)) == list(range(30))
    assert read == []


@ways
def test_failures_are_raised_in_their_places(monkeypatch, waiting, take):
    choose(monkeypatch, "thread")
    barrier = threading.Barrier(FEW)

    @plait.task(parallel_safe=True)
    def fail(x):
        if x < FEW:
            barrier.wait(LIMIT)
        if x % 3 == 0:
            raise ValueError(x)
        return x

    taken = take(plait.map(fail, range(40), return_exceptions=True))
    assert [getattr(x, "args", (x,))[0] for x in taken] == list(range(40))
    assert all(isinstance(x, ValueError) is (place % 3 == 0) for place, x in enumerate(taken))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_first_is_interrupted(monkeypatch, waiting, undecided, kind):
    begun = threading.Event()

    @plait.task(parallel_safe=True)
    def interrupt(x):
        if x == 0:
            assert begun.wait(LIMIT)
            raise kind
        begun.set()
        return x

    results = plait.map(interrupt, range(8 * FEW))
    with pytest.raises(kind):
        next(results)
    with pytest.raises(RuntimeError, match="the call of this item was interrupted"):
        next(results)
    # Those that were sent beside it have their results; then it is said that the rest was not.
    rest = []
    with pytest.raises(RuntimeError, match="have not been sent"):
        rest.extend(iter(lambda: _next(results, rest), None))
    assert rest == list(range(1, len(rest) + 1))
    assert 1 <= len(rest) < FEW


def _next(results, rest):
    rest.append(next(results))
    return rest.pop()


def test_an_interrupt_before_the_first_is_made(monkeypatch, undecided):
    def interrupted(self, flow):
        raise KeyboardInterrupt

    fn = plait.task(lambda x: x, parallel_safe=True)
    with monkeypatch.context() as patch:
        patch.setattr(FirstCalls, "sent", interrupted)
        results = plait.map(fn, range(30))
        with pytest.raises(KeyboardInterrupt):
            next(results)
    with pytest.raises(RuntimeError, match="the call of this item was interrupted"):
        next(results)


def test_others_cannot_be_made(monkeypatch, waiting, undecided):
    refused = threading.Event()

    def full(*_):
        refused.set()
        raise OSError("full")

    @plait.task(parallel_safe=True)
    def call(x):
        assert refused.wait(LIMIT)
        return x

    monkeypatch.setattr(FirstCalls, "_beside", full)
    results = plait.map(call, range(30))
    # The first has its result; and nothing more is taken.
    assert next(results) == 0
    with pytest.raises(OSError, match="full"):
        next(results)
    assert list(results) == []


def test_no_thread_can_be_started(monkeypatch, undecided):
    def full(*, wide=True):
        raise RuntimeError("can't start new thread")

    fn = plait.task(lambda x: (x, here()), parallel_safe=True)
    monkeypatch.setattr(pools, "threads", full)
    assert list(plait.map(fn, range(30))) == [(x, here()) for x in range(30)]


def test_threads_of_a_map_that_is_garbage_are_not_the_next_ones(monkeypatch):
    monkeypatch.setattr(pools, "_free", {})

    class Dropped:
        def __init__(self):
            self.lease = pools.Lease(2)
            self.itself = self

        def __del__(self):
            self.lease.end()

    Dropped()
    gc.collect()
    following = pools.Lease(2)
    assert following.pool.submit(abs, -1).result(LIMIT) == 1
    following.end()
    assert list(pools._free.values()) == [following.pool]


def test_what_a_call_is_seen_to_do():
    told = iter(
        [
            None,
            (1, {"sleep": 1}),
            (10, {"sleep": 9}),
            (11, {"sleep": 10}),
            (20, {"sleep": 10}),
            (30, {"sleep": 10, "lock": 10}),
            (40, {"sleep": 10, "lock": 10, "socket": 10}),
        ]
    )

    class Told:
        def so_far(self):
            return next(told)

    one = _Watched(Told())
    # A wait for a lock may be one for another call.
    assert [one.is_waiting() for _ in range(7)] == [None, None, True, None, False, False, True]


def test_two_calls_are_looked_at_at_a_time(monkeypatch):
    monkeypatch.setattr(measuring, "_samplers", [])
    watches = [Watch() for _ in range(3)]
    # The third does without.
    assert [watch.so_far() is None for watch in watches] == [False, False, True]
    for watch in watches:
        watch.end()
        assert watch.so_far() is None
    assert len(measuring._samplers) == 2
