"""Exceptions of tasks, groups and maps that nobody asks for: each is reported once."""

import asyncio
import concurrent.futures
import gc
import re
import threading
import time
import weakref

import pytest
from tests.helpers.tasks import until
from tests.test_lost import line_of_caller

import plait
from plait import _notifier


def fail(*args):
    raise ValueError(*args or ("boom",))


async def failing(*args):
    raise ValueError(*args or ("boom",))


def fail_later(seconds, text="late"):
    time.sleep(seconds)
    raise ValueError(text)


@pytest.fixture
def foreign():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def place(request):
    """Where to submit, and what fails there."""
    if request.param == "foreign":
        executor = request.getfixturevalue("foreign")
        return executor, fail
    return request.param, failing if request.param == "loop" else fail


PLACES = ["loop", "thread", "process", "serial", "auto", "foreign"]
everywhere = pytest.mark.parametrize("place", PLACES, indirect=True)


def settle():
    """Have everything reported that is lost by now."""
    gc.collect()
    _notifier.flush()


def named(args):
    return args.name.rpartition(".")[2], args.filename, args.lineno, str(args.exc_value)


@everywhere
def test_a_call_whose_future_is_dropped(lost, place):
    on, function = place
    future, line = plait.submit(function, on=on), line_of_caller()
    concurrent.futures.wait([future])
    assert lost == []
    del future
    settle()
    assert [named(args) for args in lost] == [(function.__name__, __file__, line, "boom")]
    assert lost[0].exc_value.__traceback__ is not None or on in ("process", "auto")


@everywhere
def test_a_call_whose_future_nobody_has(lost, place):
    on, function = place
    line = line_of_caller() + 1
    plait.submit(function, on=on)
    until(lambda: lost, "a report")
    settle()
    assert [named(args) for args in lost] == [(function.__name__, __file__, line, "boom")]


def taken(future):
    with pytest.raises(ValueError, match="boom"):
        future.result()


ASKS = {
    "result": taken,
    "exception": lambda future: future.exception(),
    "callback": lambda future: future.add_done_callback(lambda ended: ended.exception()),
    "await": lambda future: asyncio.run(awaited(future)),
}


async def awaited(future):
    with pytest.raises(ValueError, match="boom"):
        await future


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@everywhere
def test_a_call_that_was_asked_for(lost, place, ask):
    on, function = place
    future = plait.submit(function, on=on)
    ask(future)
    concurrent.futures.wait([future])
    del future
    settle()
    assert lost == []


@pytest.mark.parametrize("asked", [False, True], ids=["dropped", "asked"])
@everywhere
def test_of_several_attempts_the_last_counts(lost, place, asked):
    on, function = place
    future = plait.submit(plait.task(function, retries=2, name="the job"), on=on)
    line = line_of_caller() - 1
    concurrent.futures.wait([future])
    if asked:
        assert str(future.exception()) == "boom"
    del future
    settle()
    assert [named(args) for args in lost] == (
        [] if asked else [("the job", __file__, line, "boom")]
    )


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["at once", "after a rest"])
@everywhere
def test_an_attempt_that_is_followed_by_one_that_succeeds_is_not_lost(lost, place, pause, tmp_path):
    on, function = place
    path = tmp_path / "tries"
    function = second_succeeds_later if function is failing else second_succeeds
    future = plait.submit(plait.task(function, retries=1, backoff=pause), str(path), on=on)
    concurrent.futures.wait([future])
    assert path.read_text() == "xx"
    del future
    settle()
    assert lost == []


def second_succeeds(path):
    with open(path, "a+") as tries:
        tries.write("x")
        tries.seek(0)
        if tries.read() == "x":
            raise ValueError("boom")


async def second_succeeds_later(path):
    second_succeeds(path)


@pytest.mark.parametrize("on", ["process", "auto"])
def test_what_cannot_be_pickled(lost, on):
    function = fail if on == "process" else fail_with
    future, line = plait.submit(function, threading.Lock(), on=on), line_of_caller()
    concurrent.futures.wait([future])
    del future
    settle()
    ((name, *place, _),) = [named(args) for args in lost]
    assert (name, *place) == (function.__name__, __file__, line)


def fail_with(_lock):
    raise ValueError("boom")


# -- awaited and cancelled -------------------------------------------------


@pytest.mark.parametrize("on", ["loop", "thread", "process"])
def test_a_call_that_ends_with_who_awaits_it_is_not_lost(lost, on):
    async def main():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def wait():
        if on == "loop":
            await plait.submit(asyncio.sleep, 60)
        else:
            await plait.submit(sleep_long, on=on)

    plait.run(main())
    settle()
    assert lost == []


def sleep_long():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.005)


def test_what_goes_on_when_nobody_awaits_it_any_more_is_lost(lost, foreign):
    begun, gate = threading.Event(), threading.Event()

    def fail_at_last():
        begun.set()
        gate.wait(60)
        raise ValueError("late")

    async def main():
        task = asyncio.create_task(wait())
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def wait():
        await plait.submit(fail_at_last, on=foreign)

    line = wait.__code__.co_firstlineno + 1
    plait.run(main())
    assert lost == []
    gate.set()
    until(lambda: lost, "a report")
    settle()
    (args,) = lost
    assert (str(args.exc_value), args.filename, args.lineno) == ("late", __file__, line)


# -- groups ----------------------------------------------------------------


async def group_of(count, on, function):
    async with plait.TaskGroup() as group:
        for number in range(count):
            group.submit(function, f"{number}", on=on)


def sync_group_of(count, on, function):
    with plait.TaskGroup() as group:
        for number in range(count):
            group.submit(function, f"{number}", on=on)


@pytest.mark.parametrize("sync", [False, True], ids=["async with", "with"])
@everywhere
def test_what_a_group_raises_is_not_lost(lost, place, sync):
    on, function = place
    run = sync_group_of if sync else lambda *what: plait.run(group_of(*what))
    with pytest.raises(ExceptionGroup) as caught:
        run(4, on, function)
    assert caught.value.subgroup(ValueError) is not None
    del caught
    settle()
    assert lost == []


@pytest.mark.parametrize("sync", [False, True], ids=["async with", "with"])
def test_each_failure_is_in_the_group_or_reported(lost, foreign, sync):
    """One that nobody can stop fails after another: within the grace, or when nobody waits."""
    within, beyond = threading.Event(), threading.Event()

    def fail_within(text):
        within.wait(60)
        raise ValueError(text)

    def fail_beyond(text):
        beyond.wait(60)
        raise ValueError(text)

    def first(text):
        within.set()
        raise ValueError(text)

    def submit_all(group):
        group.submit(fail_within, "within", on=foreign)
        group.submit(fail_beyond, "beyond", on=foreign)
        group.submit(first, "first", on="thread")

    line = submit_all.__code__.co_firstlineno + 2

    def with_sync():
        with plait.TaskGroup(grace=1) as group:
            submit_all(group)

    async def with_async():
        async with plait.TaskGroup(grace=1) as group:
            submit_all(group)

    run = with_sync if sync else lambda: plait.run(with_async())
    with pytest.raises(ExceptionGroup) as caught:
        run()
    assert sorted(str(error) for error in caught.value.exceptions) == ["first", "within"]
    settle()
    assert lost == []
    beyond.set()
    until(lambda: lost, "a report")
    settle()
    assert [(str(a.exc_value), a.filename, a.lineno) for a in lost] == [("beyond", __file__, line)]


@pytest.mark.parametrize("sync", [False, True], ids=["async with", "with"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_failure_that_leaves_a_group_without_being_heard_is_lost(lost, foreign, sync, kind):
    def enter(group):
        failing = group.submit(fail_later, 0.05, on=foreign)
        until(failing.running, "it to begin")

    line = enter.__code__.co_firstlineno + 1

    def with_sync():
        with plait.TaskGroup() as group:
            enter(group)
            raise kind

    async def with_async():
        async with plait.TaskGroup() as group:
            enter(group)
            raise kind

    run = with_sync if sync else lambda: plait.run(with_async())
    with pytest.raises(kind):
        run()
    settle()
    assert [(str(a.exc_value), a.filename, a.lineno) for a in lost] == [("late", __file__, line)]


# -- maps ------------------------------------------------------------------


def test_a_map_that_is_never_iterated_has_lost_nothing(lost):
    plait.map(fail, range(3))
    settle()
    assert lost == []


def items_of(error):
    """The numbers of the items that an exception names: one, as a rule."""
    return [int(number) for number in re.findall(r"In item (\d+) of", "".join(error.__notes__))]


def take_first(results):
    """Take the failure of the first item; return how many more have been sent."""
    with pytest.raises(ValueError, match="boom"):
        next(results)
    flow = results._source._flow
    until(lambda: not flow._pending, "the ends of what has been sent")
    return flow._read - 1


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])
@pytest.mark.parametrize("end", ["close", "drop", "cycle"])
@pytest.mark.parametrize("place", ["loop", "thread", "process", "auto"], indirect=True)
def test_what_nobody_takes_of_a_map_is_lost(lost, place, end, ordered):
    on, function = place
    function = boom_after if function is failing else boom
    results, line = plait.map(function, range(6), on=on, ordered=ordered), line_of_caller()
    left = take_first(results)
    settle()
    assert lost == []
    if end == "close":
        results.close()
    elif end == "cycle":
        cycle = [results]
        cycle.append(cycle)
        del cycle
    del results
    settle()
    assert len(lost) == left
    assert {(args.filename, args.lineno) for args in lost} <= {(__file__, line)}
    numbers = [number for args in lost for number in items_of(args.exc_value)]
    assert len(numbers) == len(set(numbers)) == left


def boom(item):
    raise ValueError("boom")


async def boom_after(item):
    raise ValueError("boom")


@pytest.mark.parametrize("returned", [False, True], ids=["raised", "returned"])
@pytest.mark.parametrize("on", ["thread", "process"])
def test_what_was_taken_of_a_map_is_not_lost(lost, on, returned):
    results = plait.map(boom, range(6), on=on, return_exceptions=returned)
    for number in range(6):
        if returned:
            assert isinstance(next(results), ValueError), number
        else:
            with pytest.raises(ValueError, match="boom"):
                next(results)
    assert next(results, None) is None
    del results
    settle()
    assert lost == []


def test_of_a_chunk_that_is_half_taken_the_other_half_is_lost(lost):
    def odd_fails(item):
        if item % 2:
            raise ValueError(item)
        return item

    # Of processes: they get them in chunks.
    results = plait.map(odd_fails, range(2000), on="process", return_exceptions=True)
    taken = 1001
    for _ in range(taken):
        next(results)
    flow = results._source._flow
    until(lambda pending=flow._pending: not pending, "the ends of what has been sent")
    sent = flow._read
    del results, flow
    settle()
    seen = [number for args in lost for number in items_of(args.exc_value)]
    assert seen == [number for number in range(taken, sent) if number % 2][:100]


def test_what_ends_when_a_map_is_closed_is_lost(lost):
    gate, begun = threading.Event(), threading.Event()

    def wait_and_fail(item):
        if not item:
            begun.wait(60)
            return
        begun.set()
        gate.wait(60)
        raise ValueError("boom")

    with plait.ThreadPoolExecutor(2) as pool:
        results, line = plait.map(wait_and_fail, range(6), on=pool), line_of_caller()
        assert next(results) is None
        results.close()
        assert lost == []
        gate.set()
    settle()
    assert 1 <= len(lost) <= 2
    assert {(args.filename, args.lineno) for args in lost} == {(__file__, line)}


def test_a_map_that_loses_thousands_reports_a_hundred(lost, caplog):
    results = plait.map(boom, range(1000), on="thread", window=1000)
    left = take_first(results)
    before = plait._lost.count()
    del results
    settle()
    assert len(lost) == min(left, 100)
    assert plait._lost.count() == before + left
    assert [r.name for r in caplog.records] == ["plait.lost"] * (left > 100)


@pytest.mark.parametrize("on", ["loop", "thread", "process", "serial"])
def test_what_a_failure_has_passed_through_can_be_collected(on):
    """A frame that has raised it is kept by it, and may keep its future."""

    class Held:
        pass

    def fail_with(held):
        fail(held)

    async def failing_with(held):
        fail(held)

    def use():
        held = Held()
        if on == "process":
            future = plait.submit(fail, on=on)
        else:
            future = plait.submit(failing_with if on == "loop" else fail_with, held, on=on)
        with pytest.raises(ValueError, match=r"boom|Held") as caught:
            future.result()
        # A cycle.
        assert caught.traceback[0].frame.f_locals["future"] is future
        return weakref.ref(held)

    reference = use()
    # Who ends a call may let go of it later than its future is there.
    until(lambda: gc.collect() >= 0 and reference() is None, "the end of the cycle")


# -- parallel --------------------------------------------------------------


@pytest.mark.parametrize("place", ["loop", "thread", "process", "serial"], indirect=True)
def test_what_parallel_returns_is_not_lost(lost, place):
    on, function = place
    outcomes = plait.parallel(function, [("boom",)] * 3, on=on)
    assert [type(outcome.error) for outcome in outcomes] == [ValueError] * 3
    del outcomes
    settle()
    assert lost == []
