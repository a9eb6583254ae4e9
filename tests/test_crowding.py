"""What a crowd of threads gets of a busy machine: when it is measured, and what is kept of it."""

import itertools
import json
import threading
import time
from types import SimpleNamespace

import pytest
from made_up import signals

import plait
from plait._measure import crowding
from plait._measure.crowding import Crowd, kept, measured
from plait._measure.estimating import estimates, estimates_of
from plait._measure.machine import TYPICAL

PYTHON = signals(0.01, held=1.0)
RELEASES = signals(0.01, held=0.02)
SLEEP = signals(0.05, 5e-5, held=0.001, pauses=1)
LOCKED = signals(0.02, held=1.0, unpicklable="its argument cannot be pickled: `lock`")
BUSY = signals(0.02, 0.01, held=1.0, queued=0.01)


@pytest.fixture
def shares(monkeypatch, tmp_path):
    """Give what a crowd gets, with the lock and without; note what was measured."""
    given, asked = {"locked": 0.9, "free": 0.7}, []
    names = {crowding._with_the_lock: "locked", crowding._without_the_lock: "free"}

    def measure(work, threads):
        asked.append((names[work], threads))
        return given[names[work]]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(crowding, "_given", measure)
    return given, asked


def test_what_computes_is_measured_on_a_busy_machine(shares):
    assert measured(BUSY, 3, 2) == Crowd(32, 0.9, 0.7)
    assert shares[1] == [("locked", 32), ("free", 32)]
    assert measured(RELEASES, 3, 2) == Crowd(32, None, 0.7)
    assert measured(LOCKED, 90, 64).threads == 128


@pytest.mark.parametrize(
    ("call", "others", "cores"), [(BUSY, 0, 2), (BUSY, 1, 4), (SLEEP, 3, 2), (SLEEP, 0, 1)]
)
def test_nothing_is_measured_that_tells_nothing(shares, call, others, cores):
    assert measured(call, others, cores) is None
    assert shares[1] == []


def test_it_is_kept_for_a_busy_machine(shares):
    assert kept(BUSY, 3, 2) is None
    measured(BUSY, 3, 2)
    assert kept(BUSY, 3.2, 2) == Crowd(32, 0.9, 0.7)
    # What does not hold the lock does not wait for it.
    assert kept(RELEASES, 3, 2) == Crowd(32, None, 0.7)
    assert kept(BUSY, 3, 1) is None
    assert kept(BUSY, 0, 2) is None
    # That was another load.
    assert kept(BUSY, 9, 2) is None
    assert kept(BUSY, 1.4, 2) is None


def test_half_of_what_was_measured_before_counts(shares):
    measured(BUSY, 3, 2)
    shares[0]["free"] = 0.8
    assert measured(RELEASES, 4, 2) == Crowd(32, None, 0.75)
    assert kept(BUSY, 4, 2) == Crowd(32, 0.9, 0.75)
    shares[0].update(locked=0.8, free=None)
    assert measured(BUSY, 4, 2) == Crowd(32, pytest.approx(0.85), 0.75)
    # Not where the load was another.
    shares[0].update(locked=0.5, free=0.5)
    assert measured(BUSY, 12, 2) == kept(BUSY, 12, 2) == Crowd(32, 0.5, 0.5)


def test_what_is_kept_grows_old(shares, monkeypatch):
    measured(BUSY, 3, 2)
    now = time.time()
    for seconds, there in ((300, True), (900, False), (-900, False)):
        monkeypatch.setattr(crowding.time, "time", lambda at=now + seconds: at)
        assert (kept(BUSY, 3, 2) is not None) is there


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": 0},
        {"threads": "many"},
        {"locked": 3.0},
        {"free": -1.0},
        {"free": "much"},
        {"at": None},
        {"others": None},
        {"others": float("nan")},
        {"others": True},
        {"locked": float("nan")},
    ],
)
def test_a_file_that_makes_no_sense_is_none(shares, wrong):
    measured(BUSY, 3, 2)
    with open(crowding._path()) as file:
        told = json.load(file)
    told["crowds"]["2 cores"] |= wrong
    with open(crowding._path(), "w") as file:
        json.dump(told, file)
    assert kept(BUSY, 3, 2) is None
    with open(crowding._path(), "w") as file:
        file.write("[")
    assert kept(BUSY, 3, 2) is None


def test_a_crowd_computes_side_by_side_for_a_while(monkeypatch):
    monkeypatch.setattr(crowding, "_LONG", 0.2)
    wall, own, worked = itertools.count(), threading.local(), set()

    def spent():
        # Each has computed for a quarter of the time.
        own.spent = getattr(own, "spent", -0.05) + 0.05
        return own.spent

    clocks = SimpleNamespace(perf_counter=lambda: next(wall) / 1000, thread_time=spent)
    monkeypatch.setattr(crowding, "time", clocks)
    before = threading.active_count()
    given = crowding._given(lambda: worked.add(threading.current_thread()), 4)
    assert given == pytest.approx(1.0)
    assert worked
    assert not any(thread.is_alive() for thread in worked)
    assert threading.active_count() == before


def test_the_two_kinds_of_work_do_what_they_say():
    assert crowding._with_the_lock() is None
    # From 2,048 bytes on hashing lets go of the lock.
    assert len(crowding._BUFFER) > 2048
    assert crowding._without_the_lock() is None


def test_too_few_threads_measure_nothing(shares, monkeypatch):
    monkeypatch.undo()
    started = []

    class Few(threading.Thread):
        def start(self):
            if len(started) == 3:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr(crowding, "Thread", Few)
    assert crowding._given(crowding._with_the_lock, 8) is None
    assert not any(thread.is_alive() for thread in started)


def test_a_crowd_at_the_lock_is_chosen_where_it_gets_more(shares, monkeypatch):
    monkeypatch.setattr("plait._measure.estimating.known", lambda: TYPICAL)

    def chosen(call, crowd):
        return estimates_of(call, 40, TYPICAL, cores=2, load=2.0, crowd=crowd)

    found = chosen(PYTHON, Crowd(32, 0.95, 0.65))
    assert found.engines[0].method == "thread"
    assert found.engines[0].width > 16
    assert found.reasons["thread"] == (
        f"the machine is busy: {found.engines[0].width} threads take turns at the interpreter"
        " lock, and whoever has it is given a core sooner"
    )
    assert chosen(PYTHON, Crowd(32, 0.65, 0.9)).engines[0].method == "process"
    assert chosen(LOCKED, Crowd(32, 0.65, 0.65)).engines[0].method == "serial"
    # Who has calls to make goes by what others have measured.
    assert estimates(PYTHON, 40, load=2.0, cores=2)[0].method == "process"
    shares[0].update(locked=0.95, free=0.65)
    measured(PYTHON, 2.0, 2)
    assert estimates(PYTHON, 40, load=2.0, cores=2)[0].method == "thread"


def test_measure_asks_for_it(shares, monkeypatch):
    asked = []

    def none(*args):
        asked.append(args)

    monkeypatch.setattr("plait._measure.measured", none)

    async def nothing():
        pass

    found = plait.measure(len, (), batch=10)
    assert [call for call, _, _ in asked] == [found.signals]
    # One call has nobody to take turns with, and coroutines need no lock.
    plait.measure(len, (), batch=1)
    plait.measure(nothing, batch=10)
    assert len(asked) == 1
