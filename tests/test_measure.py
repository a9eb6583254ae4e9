"""`plait.measure`: a timed test asserts only what physics guarantees, by wide margins.

What is chosen from which signals is in test_estimate.py, with made-up signals.
"""

import asyncio
import copy
import dataclasses
import functools
import json
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

import plait
from plait._measure.figures import Figures

#: The cheapest method first.
ORDER = ("serial", "loop", "thread", "process")


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "helpers"))
    import measured

    return measured


def check(measurement):
    """What holds whatever the clocks said."""
    methods = set(measurement.seconds)
    assert methods <= set(ORDER)
    assert measurement.best in methods
    assert measurement.seconds["serial"] > 0
    assert methods <= set(measurement.reasons)
    assert measurement.reason.endswith(".")
    assert measurement.reason[:-1].lower() == measurement.reasons[measurement.best].lower()
    assert 0 <= measurement.waited <= measurement.wall
    assert measurement.calls >= measurement.signals.calls >= 1
    evidence = ("speedup", "memory", "workers", "chunk", "cold", "estimated")
    for figures in (getattr(measurement, name) for name in evidence):
        assert set(figures) == methods
    assert measurement.speedup["serial"] == 1.0
    if measurement.verified:
        ran = measurement.verified
        fastest = min(ran.values())
        fast = [method for method in ORDER if ran.get(method, float("inf")) <= 1.1 * fastest]
        assert measurement.best == fast[0]
        assert all(measurement.seconds[method] == ran[method] for method in ran)
        assert set(measurement.differences) <= set(ran)
    else:
        assert measurement.seconds == measurement.estimated
        assert measurement.differences == {}
    return measurement


def test_what_waits_runs_in_threads():
    measurement = check(plait.measure(time.sleep, 0.05, batch=12))
    assert measurement.best == "thread"
    assert measurement.cpu < measurement.wall / 2
    assert measurement.waited > measurement.wall / 2
    assert measurement.workers["thread"] > 2


def test_what_computes_has_signals_of_computing(measured):
    measurement = check(plait.measure(measured.compute, 50_000))
    signals = measurement.signals
    assert signals.cpu > 0
    assert signals.held is None or signals.held > 0.5
    assert signals.argument_bytes > 0
    assert signals.result_bytes > 0
    assert signals.pickle_seconds >= 0
    assert set(measurement.seconds) == {"serial", "thread", "process"}


def test_what_is_tiny_stays_where_it_is(measured):
    measurement = check(plait.measure(measured.nothing, batch=500))
    assert measurement.best == "serial"
    assert "handing it out costs more than it saves" in measurement.reason


def test_a_coroutine_that_waits_runs_on_the_loop(measured):
    measurement = check(plait.measure(measured.wait, 0.02, batch=20))
    assert measurement.best == "loop"
    assert set(measurement.seconds) == {"serial", "loop"}
    assert measurement.workers["loop"] == 20
    assert measurement.signals.argument_bytes is None
    assert measurement.signals.stepped < measurement.wall


def test_a_coroutine_that_blocks_is_told_apart(measured):
    measurement = check(plait.measure(measured.block, 0.01, batch=10))
    assert measurement.signals.stepped > 0.005
    # Ten blocking calls cannot overlap; what disturbs a busy machine may look as if they could.
    assert measurement.speedup["loop"] < 2
    assert "blocks the loop" in measurement.reasons["loop"]


def test_a_coroutine_that_computes_gains_nothing_on_the_loop(measured):
    measurement = check(plait.measure(measured.spin, 30_000))
    # Nothing, but for what disturbs a busy machine.
    assert measurement.speedup["loop"] < 2


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


@pytest.mark.parametrize("verify", [False, True])
def test_it_is_called_in_the_calling_thread_unless_it_is_verified(verify):
    threads = set()

    def note():
        threads.add(threading.get_ident())
        time.sleep(0.002)

    check(plait.measure(note, batch=8, verify=verify))
    assert (threads == {threading.get_ident()}) is not verify


def test_verified_runs_are_evidence():
    measurement = check(plait.measure(time.sleep, 0.05, batch=12, budget=5, verify=True))
    assert set(measurement.verified) == {"serial", "thread", "process"}
    assert measurement.verified["serial"] >= 12 * 0.05
    assert measurement.best == "thread"


def test_verified_coroutines_are_evidence(measured):
    measurement = check(plait.measure(measured.wait, 0.02, batch=20, budget=3, verify=True))
    assert set(measurement.verified) == {"serial", "loop"}
    assert measurement.best == "loop"


def test_a_slow_first_call_is_kept_apart():
    slow = [0.1]

    def warms_up():
        time.sleep(slow.pop() if slow else 0.001)

    measurement = check(plait.measure(warms_up, batch=10))
    assert measurement.signals.first >= 0.1
    # Nothing can make most of many calls of a millisecond take fifty.
    assert measurement.wall < 0.05
    assert measurement.cold["serial"] >= measurement.seconds["serial"] + 0.05


def test_a_result_that_cannot_be_pickled_leaves_processes_out(measured):
    measurement = check(plait.measure(measured.generator))
    assert set(measurement.seconds) == {"serial", "thread"}
    assert measurement.signals.argument_bytes is None
    assert measurement.reasons["process"] == measurement.signals.unpicklable
    assert "its result cannot be pickled: a generator" in measurement.reasons["process"]


def test_what_the_function_raises_comes_out_as_it_is(measured):
    with pytest.raises(LookupError, match="no such luck") as caught:
        plait.measure(measured.fail, "no such luck")
    assert caught.value.__notes__ == ["plait.measure was running it in the calling thread"]


def test_what_it_raises_only_in_a_worker_comes_out_too(measured):
    with pytest.raises(LookupError, match="only here") as caught:
        plait.measure(measured.fail_in_a_worker, os.getpid(), verify=True)
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
        plait.measure(sometimes, batch=10, verify=True)
    assert under_way == 0


def test_a_coroutine_is_sent_what_its_awaitables_give_and_thrown_what_they_raise():
    seen = []

    async def wait():
        seen.append(await asyncio.sleep(0, "value"))
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(LookupError("from the future"))
        try:
            await failed
        except LookupError as error:
            seen.append(str(error))
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.001)
        except TimeoutError:
            seen.append("late")

    check(plait.measure(wait, batch=2, budget=0.01))
    assert seen[:3] == ["value", "from the future", "late"]


def test_a_budget_too_small_leaves_one_call():
    measurement = check(plait.measure(time.sleep, 0.05, batch=10, budget=0.01, verify=True))
    assert measurement.calls == 1
    assert measurement.verified == {}
    assert set(measurement.seconds) == {"serial", "thread", "process"}


def test_a_second_call_is_made_where_the_budget_allows():
    measurement = check(plait.measure(time.sleep, 0.2, batch=4, budget=1))
    assert measurement.signals.calls >= 2


def test_a_generator_function_is_told_apart():
    def numbers():
        yield 1

    assert "it is a generator function" in plait.measure(numbers).reason
    assert "it is a generator function" in plait.measure(functools.partial(numbers)).reason


def test_a_cached_function_is_told_apart():
    cached = functools.cache(lambda: 1)
    assert "its results are cached" in plait.measure(cached).reason
    assert "cached" not in plait.measure(cached.__wrapped__).reason


def test_the_batch_is_what_was_asked_for():
    measurement = check(plait.measure(time.sleep, 0.001, batch=7))
    assert measurement.batch == 7
    assert measurement.workers["thread"] <= 7


@pytest.mark.parametrize("verify", [False, True])
def test_the_calls_are_counted(measured, tmp_path, verify):
    made = tmp_path / "calls"
    made.touch()
    options = {"batch": 5, "budget": 0.2, "verify": verify}
    measurement = check(plait.measure(measured.write_a_dot, str(made), **options))
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


@pytest.fixture(scope="module")
def verified():
    return plait.measure(time.sleep, 0.002, batch=3, budget=0.5, verify=True)


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
    assert fields["signals"]["wall"] == one.wall
    assert set(fields) == {field.name for field in dataclasses.fields(plait.Measurement)}
    assert set(fields["signals"]) == {field.name for field in dataclasses.fields(plait.Signals)}


@pytest.mark.parametrize("which", ["one", "verified"])
def test_a_measurement_prints_as_a_table(request, which):
    measurement = request.getfixturevalue(which)
    text = str(measurement)
    for method in measurement.seconds:
        assert f"\n {method} " in text
    assert f"Use {measurement.best}: " in text
    assert measurement.reason.split()[0] in text
    assert all(line == line.rstrip() and len(line) <= 88 for line in text.splitlines())


def test_a_table_says_what_cannot_run(measured):
    rows = str(plait.measure(measured.generator)).splitlines()
    (row,) = (row for row in rows if row.startswith(" process "))
    assert " no " in row


def test_figures_are_a_mapping():
    figures = Figures({"a": 1, "b": 2})
    assert figures == {"a": 1, "b": 2}
    assert list(figures) == ["a", "b"]
    assert repr(figures) == "{'a': 1, 'b': 2}"
    with pytest.raises(KeyError):
        figures["c"]


def test_nothing_stays_behind(measured):
    before = set(threading.enumerate())
    plait.measure(measured.compute, 1000, batch=4, budget=0.1)
    assert set(threading.enumerate()) == before


def test_several_threads_can_measure_at_once(measured):
    results = []

    def measure():
        results.append(plait.measure(measured.compute, 2000, batch=4, budget=0.2))

    threads = [threading.Thread(target=measure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for result in results:
        check(result)


def test_it_measures_in_a_worker(measured):
    with plait.ProcessPoolExecutor(1) as pool:
        check(pool.submit(plait.measure, measured.compute, 2000, batch=4, budget=0.2).result())


def test_an_interrupt_leaves_nothing_watched(measured):
    def interrupted():
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            plait.measure(interrupted)
    check(plait.measure(measured.compute, 2000, batch=4, budget=0.1))


def test_a_measurement_can_measure(measured):
    def outer():
        return plait.measure(measured.compute, 200, batch=4, budget=0.01)

    check(plait.measure(outer, batch=4, budget=0.2))
