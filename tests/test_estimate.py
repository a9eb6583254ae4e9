"""`estimates`: made-up signals on a made-up machine. The model itself is tested in Rust."""

import dataclasses
import pickle

import pytest
from made_up import signals

from plait._binding import native
from plait._measure.budget import Budget
from plait._measure.concluding import conclude
from plait._measure.estimating import estimates, estimates_of, rivals
from plait._measure.load import Load
from plait._measure.machine import TYPICAL
from plait._measure.peak import Peak
from plait._measure.reading import Read, signals_of
from plait._measure.reading_coroutines import _standing
from plait._measure.sampling import Spent, Stretches


def on(cores, read, batch, **options):
    return estimates_of(read, batch, TYPICAL, cores=cores, **options)


def best(cores, read, batch, **options):
    return on(cores, read, batch, **options).engines[0].method


# What people ask about, each as its signals, and where it belongs on two cores.
PYTHON = signals(0.01, held=0.99)
RELEASES = signals(0.01, held=0.02)
SLEEP = signals(0.05, 5e-5, held=0.001, waits={"sleep": 0.99}, pauses=1)
SOCKET = signals(0.02, 1e-4, held=0.01, waits={"socket": 0.99}, pauses=2)
MIX = signals(0.02, 0.01, held=0.5, waits={"socket": 0.5}, pauses=1)
TRIFLE = signals(1e-6, held=1.0)
HEAVY = signals(0.02, held=1.0, argument_bytes=100_000_000, pickle_seconds=0.1)
LOCKED = signals(0.02, held=1.0, unpicklable="its argument cannot be pickled: `lock`")
MATRIX = signals(0.02, held=0.01, process_cpu=0.04)
WARMS = signals(0.0015, held=0.99, first=0.3)


@pytest.mark.parametrize(
    ("read", "batch", "method"),
    [
        (PYTHON, 40, "process"),
        (RELEASES, 40, "thread"),
        (SLEEP, 40, "thread"),
        (SOCKET, 48, "thread"),
        (MIX, 40, "process"),
        (TRIFLE, 40, "serial"),
        (HEAVY, 8, "serial"),
        (LOCKED, 40, "serial"),
        (MATRIX, 20, "serial"),
        (PYTHON, 1, "serial"),
    ],
)
def test_each_kind_of_function_has_its_place(read, batch, method):
    assert best(2, read, batch) == method


def test_the_best_comes_first_and_then_the_fastest():
    engines = on(2, PYTHON, 40).engines
    assert engines[0].method == "process"
    assert [one.seconds for one in engines] == sorted(one.seconds for one in engines)


def test_a_slow_first_call_counts_in_workers_that_are_new_to_it():
    assert best(2, WARMS, 60) == "process"
    assert best(2, WARMS, 60, new=("process",)) == "serial"
    assert best(2, WARMS, 6000, new=("process",)) == "process"


def test_a_pool_that_is_not_started_counts_where_that_is_said():
    assert best(2, PYTHON, 10) == "process"
    assert best(2, PYTHON, 10, cold=("process",)) == "serial"
    assert best(2, PYTHON, 1000, cold=("process",)) == "process"


def test_pools_are_as_wide_as_they_are():
    waits = {one.method: one for one in on(2, SLEEP, 60, threads=6, processes=2).engines}
    assert waits["thread"].width == 6
    assert waits["process"].width == 2
    assert waits["thread"].seconds == pytest.approx(10 * 0.05, rel=0.05)
    assert {one.method: one.width for one in on(2, PYTHON, 60).engines}["process"] == 2


def test_waiting_work_is_given_as_many_threads_as_it_has_calls():
    assert on(2, SLEEP, 48).engines[0].width >= 32


def test_half_waiting_half_computing_takes_more_processes_than_cores():
    found = {one.method: one for one in on(2, MIX, 40).engines}
    assert found["process"].width > 2
    # The interpreter lock is what threads have in common.
    assert 0.4 <= found["thread"].seconds < 0.5
    assert best(2, MIX, 40, processes=1) == "thread"


def test_a_busy_machine_has_fewer_cores_to_give():
    quiet, busy = (
        {one.method: one.seconds for one in on(2, PYTHON, 100, load=load).engines}
        for load in (0.0, 3.0)
    )
    assert busy["process"] > 1.5 * quiet["process"]


def test_queueing_is_no_waiting():
    queueing = signals(0.02, 0.01, queued=0.01, held=1.0)
    assert queueing.waited == 0
    assert best(2, queueing, 40) == "process"


@pytest.mark.parametrize(
    ("queued", "cores", "expected"),
    [(0.0, 2, 0.0), (1e-5, 2, 0.0), (0.01, 1, 1.0), (0.01, 2, 3.0), (0.03, 2, 7.0)],
)
def test_the_time_in_the_queue_tells_how_many_others_there_are(queued, cores, expected):
    read = signals(0.01 + queued, 0.01, queued=queued)
    assert rivals(read, cores) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("calls", "queued", "counted", "expected"),
    [
        # One call has told nothing yet: two want a core beside it (and stay on theirs), or fewer.
        (1, 0.0, 2.0, 2.4),
        (1, 0.0, 0.8, 0.8),
        (1, 0.0, 0.0, 0.0),
        # Luck, either way, is worth little in a fifth of a second.
        (20, 0.001, 2.0, 2.115),
        (20, 0.03, 2.0, 3.6),
        # Who reads for ten seconds knows what it is given.
        (1000, 0.03, 2.0, 6.75),
        # Nothing is taken away: those that want a core have a low priority.
        (20, 0.0, 2.0, 0.0),
    ],
)
def test_who_wants_a_core_is_counted_too(monkeypatch, calls, queued, counted, expected):
    monkeypatch.setattr("plait._measure.estimating._online", lambda: 2)
    read = signals(0.01 + queued, 0.01, queued=queued, calls=calls, rivals=counted)
    assert rivals(read, 2) == pytest.approx(expected, abs=0.05)


def test_others_are_counted_only_where_all_cores_are_ours(monkeypatch):
    monkeypatch.setattr("plait._measure.estimating._online", lambda: 64)
    read = signals(0.02, 0.01, queued=0.01, rivals=40.0)
    assert rivals(read, 2) == rivals(signals(0.02, 0.01, queued=0.01), 2) == pytest.approx(3.0)


def test_reasons_say_what_issue_7_says():
    said = on(2, dataclasses.replace(PYTHON, held=0.98), 40).reasons
    assert said["thread"] == ("holds the interpreter lock 98 % of the time: threads cannot help")
    said = on(2, SOCKET, 200).reasons
    assert said["thread"].startswith("waits 99 % of the time on a socket: ")
    assert said["thread"].endswith(" at once are cheaper as coroutines than as threads")
    said = on(2, LOCKED, 40).reasons
    assert said["process"] == "its argument cannot be pickled: `lock`"


def test_what_cannot_be_carried_has_no_estimate_but_a_reason():
    found = on(2, LOCKED, 40)
    assert {one.method for one in found.engines} == {"serial", "thread"}
    assert set(found.reasons) == {"serial", "thread", "process"}


def test_coroutines_run_on_the_loop():
    read = signals(0.02, 1e-4, stepped=1e-4)
    assert best(2, read, 100, coroutine=True) == "loop"
    blocks = dataclasses.replace(read, stepped=0.02)
    assert best(2, blocks, 100, coroutine=True) == "serial"


def test_whoever_asks_does_not_wait_for_a_measurement(monkeypatch, tmp_path):
    from plait._measure import machine

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "_kept", None)
    monkeypatch.setattr(machine, "_measured", lambda: pytest.fail("it was measured"))
    assert estimates(PYTHON, 40, cores=2)[0].method == "process"
    assert list(tmp_path.iterdir()) == []


def test_the_cheapest_of_equals_is_best():
    times = [("process", 1.0), ("thread", 1.04), ("serial", 2.0)]
    assert native.best_engine(times) == "thread"
    assert native.best_engine(times, 0.01) == "process"
    with pytest.raises(ValueError, match="is not an engine"):
        native.best_engine([("cloud", 1.0)])


def test_estimates_and_signals_can_be_pickled():
    assert pickle.loads(pickle.dumps(MIX)) == MIX
    for one in on(2, MIX, 40).engines:
        assert pickle.loads(pickle.dumps(one)) == one


def test_the_typical_call_is_not_the_disturbed_one():
    read = Stretches()
    read.spent = [Spent(1, wall, 0.01, 0.0, 0.01, 0.0) for wall in (0.01, 0.011, 0.05, 0.01, 3.0)]
    assert read.typical().wall < 0.02


def test_the_queue_is_pooled_over_all_rounds():
    read = Stretches()
    # Time in the queue comes in lumps: one round has it all.
    read.spent = [Spent(1, 0.01, 0.01, 0.0, 0.01, 0.0) for _ in range(3)]
    read.spent.append(Spent(1, 0.05, 0.01, 0.04, 0.01, 0.0))
    typical = read.typical()
    assert typical.queued == pytest.approx(0.01)
    assert typical.wall == pytest.approx(0.02)


def test_the_queue_is_never_all_of_the_time():
    # It is read around the clocks, and a thread may queue in between.
    spent = Spent(1, 1e-6, 0.9e-6, 2e-6, 1e-6, 0.0)
    assert spent.alone == 0.9e-6
    assert Stretches([spent]).typical().wall > 0


def test_short_rounds_are_not_typical():
    read = Stretches([Spent(1, 1e-9, 1e-9, 0.0, 1e-9, 0.0)])
    read.spent += [Spent(100, 0.001, 0.001, 0.0, 0.001, 0.0) for _ in range(3)]
    assert read.typical().wall == 0.001


def test_the_loop_stands_still_as_in_the_round_that_nothing_disturbed():
    read = Stretches([Spent(1, wall, 0.001, 0.0, 0.001, 1.0) for wall in (0.02, 0.01, 0.05)])
    # In the others the queue made longer what waits, or what stands.
    assert _standing(read, [0.001, 0.009, 0.04]) == pytest.approx(0.9 * read.typical().alone)


def test_few_samples_say_nothing():
    read = Stretches(samples=9, held=9)
    assert read.share_held is None
    read = Stretches(samples=10, held=5)
    read.waits.update({"socket": 4, "file": 1})
    assert read.share_held == 0.5
    assert read.share_waited == {"socket": 0.4, "file": 0.1}


@pytest.mark.parametrize(("process_cpu", "expected"), [(0.01, 2.0), (0.02, 1.0)])
def test_a_library_that_looks_for_more_work_is_no_rival(process_cpu, expected):
    first = Stretches([Spent(1, 0.01, 0.01, 0.0, process_cpu, 0.0)], rivals=[1])
    rest = Stretches([Spent(3, 0.01, 0.01, 0.0, process_cpu, 0.0)] * 2, rivals=[2, 3])
    assert signals_of(first, rest, None, None).rivals == expected
    # Where nobody can tell, nobody does.
    assert signals_of(Stretches(first.spent), Stretches(), None, None).rivals is None


def test_what_others_take_of_the_cores():
    begun = Load(wall=0.0, own=1.0, busy=10.0)
    assert Load(wall=2.0, own=3.0, busy=15.0).since(begun) == pytest.approx(1.5)
    # Ticks are coarse.
    assert Load(wall=2.0, own=3.0, busy=12.1).since(begun) == 0.0
    assert Load(wall=0.01, own=1.0, busy=11.0).since(begun) is None
    assert Load(wall=2.0, own=3.0, busy=None).since(begun) is None


def test_what_a_call_needs_is_what_is_gone_after_it():
    megabyte = 1_000_000
    before = Peak(now=10 * megabyte, ever=10 * megabyte)
    peak = Peak(12 * megabyte, 50 * megabyte)
    assert peak.grown_since(before, peak) == 38 * megabyte
    assert peak.grown_since(before, Peak(9 * megabyte, 50 * megabyte)) == 40 * megabyte
    assert peak.grown_since(before, Peak(50 * megabyte, 50 * megabyte)) == 0
    assert before.grown_since(before, before) == 0


def test_a_peak_below_an_older_one_cannot_be_told():
    megabyte = 1_000_000
    before = Peak(now=10 * megabyte, ever=80 * megabyte)
    assert before.grown_since(before, before) is None
    assert Peak(12 * megabyte, 90 * megabyte).grown_since(before, before) == 80 * megabyte


def test_the_peak_is_read():
    read = Peak.read()
    assert read is not None
    assert 0 < read.now <= read.ever * 1.01


def conclusion(read, runs, batch=40):
    found = estimates_of(read, batch, TYPICAL, cores=2)
    return conclude(Read(read, None), found, runs, batch, Budget(1.0))


def test_without_runs_the_estimate_is_the_answer():
    answer = conclusion(PYTHON, {})
    assert answer.best == "process"
    assert answer.verified == answer.differences == {}
    assert answer.seconds == answer.estimated
    assert answer.speedup["process"] == pytest.approx(2, rel=0.05)


def test_the_best_follows_the_runs():
    answer = conclusion(PYTHON, {"serial": 0.4, "thread": 0.1, "process": 0.39})
    assert answer.best == "thread"
    assert answer.reason == "Was the fastest when it was run for real."
    assert answer.differences["process"].endswith("run: 1.95\N{MULTIPLICATION SIGN} as long")
    assert answer.differences["thread"].endswith("run: 0.25\N{MULTIPLICATION SIGN} of it")
    assert "serial" not in answer.differences
    assert answer.speedup["thread"] == pytest.approx(4)


def test_the_cheapest_of_runs_that_are_alike_is_best():
    answer = conclusion(PYTHON, {"serial": 0.42, "thread": 0.5, "process": 0.4})
    assert answer.best == "serial"
    assert answer.reason == (
        "Took 5% more than the fastest (process) when run for real, and is cheaper."
    )


def test_what_there_was_no_time_to_run_keeps_its_estimate():
    answer = conclusion(PYTHON, {"process": 0.2})
    assert answer.verified == {"process": 0.2}
    assert answer.seconds["serial"] == answer.estimated["serial"] == pytest.approx(0.4)
    assert answer.best == "process"


def test_what_could_not_be_run_is_out_and_says_why():
    answer = conclusion(PYTHON, {"serial": 0.4, "process": "a worker could not load the function"})
    assert "process" not in answer.seconds
    assert answer.reasons["process"] == "a worker could not load the function"
    assert answer.best == "serial"
