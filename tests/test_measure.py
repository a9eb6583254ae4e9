"""`plait.measure`: a timed test asserts only what physics guarantees, by wide margins."""

import asyncio
import copy
import dataclasses
import json
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

import plait
from plait._measure.carriage import Carriage, weigh
from plait._measure.clocks import Clocks
from plait._measure.measurement import Figures

#: The cheapest engine first.
ORDER = ("serial", "loop", "thread", "process")


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "helpers"))
    import measured

    return measured


def check(measurement):
    """What holds whatever the clocks said."""
    assert set(measurement.seconds) <= set(ORDER)
    assert measurement.seconds["serial"] > 0
    fastest = min(measurement.seconds.values())
    fast = [name for name in ORDER if measurement.seconds.get(name, float("inf")) <= 1.1 * fastest]
    assert measurement.best == fast[0]
    assert measurement.reason.endswith(".")
    assert 0 <= measurement.waited <= measurement.wall
    assert measurement.calls >= 1
    for evidence in (measurement.handout, measurement.workers, measurement.start_up):
        assert set(evidence) == set(measurement.seconds) - {"serial"}
    return measurement


def test_what_waits_runs_in_threads():
    measurement = check(plait.measure(time.sleep, 0.05, batch=12, budget=3))
    assert measurement.best == "thread"
    assert "waits (i/o, sleep)" in measurement.reason.lower()
    assert measurement.cpu < measurement.wall / 2
    assert measurement.waited > measurement.wall / 2


def test_what_computes_is_cpu_bound(measured):
    measurement = check(plait.measure(measured.compute, 50_000))
    assert "CPU bound" in measurement.reason
    assert measurement.cpu > 0
    assert measurement.pickled_bytes > 0
    assert measurement.pickle_seconds > 0
    assert set(measurement.seconds) == {"serial", "thread", "process"}


def test_what_is_tiny_stays_where_it_is(measured):
    measurement = check(plait.measure(measured.nothing, batch=500))
    assert measurement.best == "serial"
    assert "Too small to hand out" in measurement.reason


def test_a_coroutine_that_waits_runs_on_the_loop(measured):
    measurement = check(plait.measure(measured.wait, 0.02, batch=20))
    assert measurement.best == "loop"
    assert set(measurement.seconds) == {"serial", "loop"}
    assert measurement.workers == {"loop": 20}
    assert measurement.pickled_bytes is None


def test_a_coroutine_that_blocks_is_told_apart(measured):
    measurement = check(plait.measure(measured.block, 0.01, batch=10))
    # Ten blocking calls cannot overlap: a tie, which serial wins unless the
    # machine stood still for a tenth of one of the runs.
    if measurement.best == "serial":
        assert "blocks the loop" in measurement.reason


def test_a_coroutine_that_computes_is_cpu_bound(measured):
    measurement = check(plait.measure(measured.spin, 30_000))
    assert "CPU bound" in measurement.reason


@pytest.mark.parametrize("name", ["gives_coroutine", "wait_partly", "Waiter"])
def test_whatever_gives_a_coroutine_runs_on_the_loop(measured, name):
    function = getattr(measured, name)
    args = () if name == "wait_partly" else (0.01,)
    if name == "Waiter":
        function = function()
    measurement = check(plait.measure(function, *args, batch=10))
    assert set(measurement.seconds) == {"serial", "loop"}


def test_a_coroutine_can_be_measured_beside_a_running_loop(measured):
    async def main():
        return plait.measure(measured.wait, 0.01, batch=5)

    assert "loop" in check(asyncio.run(main())).seconds


def test_a_result_that_cannot_be_pickled_leaves_processes_out(measured):
    measurement = check(plait.measure(measured.generator))
    assert set(measurement.seconds) == {"serial", "thread"}
    assert measurement.pickled_bytes is None


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (threading.Lock().acquire, (), "the function cannot be pickled"),
        (id, (threading.Lock(),), "argument 1 cannot be pickled"),
    ],
)
def test_what_cannot_be_carried_is_named(function, args, words):
    assert words in weigh(function, args, None)


def test_what_cannot_be_carried_is_named_in_the_reason():
    lock = threading.Lock()

    def compute():
        with lock:
            return sum(range(20_000))

    measurement = check(plait.measure(compute, budget=0.5))
    assert "process" not in measurement.seconds
    assert "processes are out because the function cannot be pickled" in measurement.reason


def test_a_result_that_cannot_be_loaded_is_named(measured):
    clause = weigh(measured.loadless, (), measured.Loadless())
    assert clause == "its result cannot be pickled (LookupError: cannot be loaded)"


def test_what_is_carried_is_weighed():
    light = weigh(len, (b"x",), 1)
    heavy = weigh(len, (bytearray(10_000_000),), 1)
    assert isinstance(light, Carriage)
    assert isinstance(heavy, Carriage)
    assert heavy.size > 10_000_000 > light.size


def test_what_the_function_raises_comes_out_as_it_is(measured):
    with pytest.raises(LookupError, match="no such luck") as caught:
        plait.measure(measured.fail, "no such luck")
    assert caught.value.__notes__ == ["plait.measure was running it serially"]


def test_what_it_raises_only_in_a_worker_comes_out_too(measured):
    with pytest.raises(LookupError, match="only here") as caught:
        plait.measure(measured.fail_in_a_worker, os.getpid())
    assert caught.value.__notes__[-1] == "plait.measure was running it in processes"


def test_what_a_coroutine_raises_comes_out_as_it_is(measured):
    with pytest.raises(LookupError, match="later") as caught:
        plait.measure(measured.fail_later, "later")
    assert "on the loop" in caught.value.__notes__[0]
    assert caught.value.__context__ is None


def test_an_exception_in_the_gathered_batch_ends_the_rest():
    under_way = 0

    async def sometimes():
        nonlocal under_way
        under_way += 1
        try:
            if under_way == 3:
                raise LookupError("the third")
            await asyncio.sleep(0.01)
        finally:
            under_way -= 1

    with pytest.raises(LookupError, match="the third"):
        plait.measure(sometimes, batch=10)
    assert under_way == 0


def test_a_budget_too_small_leaves_the_pools_out():
    measurement = check(plait.measure(time.sleep, 0.05, batch=10, budget=0.01))
    assert set(measurement.seconds) == {"serial"}
    assert measurement.calls == 1
    assert measurement.seconds["serial"] == pytest.approx(10 * measurement.wall)
    assert "the budget left no time for threads or processes" in measurement.reason


def test_the_batch_is_what_was_asked_for():
    measurement = check(plait.measure(time.sleep, 0.001, batch=7))
    assert measurement.batch == 7
    assert measurement.workers["thread"] <= 7


def test_the_calls_are_counted(measured, tmp_path):
    made = tmp_path / "calls"
    made.touch()
    measurement = check(plait.measure(measured.write_a_dot, str(made), batch=5, budget=0.2))
    assert "process" in measurement.seconds
    assert made.stat().st_size == measurement.calls


@pytest.mark.parametrize("thing", [3, None, "os.getcwd"])
def test_what_cannot_be_called_is_a_type_error(thing):
    with pytest.raises(TypeError, match="is not callable"):
        plait.measure(thing)


@pytest.mark.parametrize("batch", [0, -1, 10**9])
def test_a_batch_has_calls(batch):
    with pytest.raises(ValueError, match="batch must be"):
        plait.measure(len, (), batch=batch)


def test_a_batch_is_an_integer():
    with pytest.raises(TypeError):
        plait.measure(len, (), batch=2.5)


@pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_time(budget):
    with pytest.raises(ValueError, match="budget must be"):
        plait.measure(len, (), budget=budget)


@pytest.fixture(scope="module")
def one():
    return plait.measure(time.sleep, 0.002, batch=3, budget=0.2)


def test_a_measurement_does_not_change(one):
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.best = "loop"
    with pytest.raises(TypeError):
        one.seconds["serial"] = 0.0
    assert not hasattr(one, "__dict__")


def test_a_measurement_can_be_copied_pickled_and_hashed(one):
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one
    assert hash(copy.copy(one)) == hash(one)


def test_a_measurement_is_json(one):
    fields = json.loads(json.dumps(one.as_dict()))
    assert fields["best"] == one.best
    assert fields["seconds"] == one.seconds
    assert set(fields) == {field.name for field in dataclasses.fields(plait.Measurement)}


def test_a_measurement_prints_as_a_table(one):
    text = str(one)
    for engine in one.seconds:
        assert f"\n {engine} " in text
    assert f"Use {one.best}: " in text
    assert one.reason.split()[0] in text
    assert all(line == line.rstrip() and len(line) <= 88 for line in text.splitlines())


def test_figures_are_a_mapping():
    figures = Figures({"a": 1, "b": 2})
    assert figures == {"a": 1, "b": 2}
    assert list(figures) == ["a", "b"]
    assert repr(figures) == "{'a': 1, 'b': 2}"
    with pytest.raises(KeyError):
        figures["c"]


def test_waiting_is_told_from_computing_and_queueing():
    assert Clocks(1.0, 0.25, 0.5).waited == 0.25
    # The clocks are not read at the same instant: their sum may exceed the wall time.
    assert Clocks(1.0, 0.75, 0.5).waited == 0.0
    assert Clocks(3.0, 2.0, 1.0) - Clocks(1.0, 1.0, 1.0) == Clocks(2.0, 1.0, 0.0)
    start = Clocks.now()
    while (spent := Clocks.now() - start).cpu < 0.05:
        pass
    assert spent.waited <= spent.wall / 2


def test_nothing_stays_behind(measured):
    before = threading.active_count()
    plait.measure(measured.compute, 1000, batch=4, budget=0.1)
    # The notifier of the futures stays; the pools' own threads do not.
    names = [thread.name for thread in threading.enumerate()]
    assert threading.active_count() <= before + 1, names
