"""From samples of calls to a decision: made-up samples, made-up estimates."""

import pytest

from plait._auto import deciding, measuring
from plait._auto.comparing import NUMBER, Arguments
from plait._auto.deciding import Decision, Need
from plait._auto.measuring import Sample
from plait._auto.record import Record
from plait._measure.estimating import Estimate


def sample(wall, cpu, looks, queued=0.0):
    return Sample(wall, cpu, queued, cpu, 0, looks)


def test_waiting_for_the_interpreter_lock_is_no_wait_of_the_function():
    # It computes for 20 ms of 200, and is never seen to wait for anything.
    found = sample(0.2, 0.02, (100, 10, {})).alone
    assert found.wall == pytest.approx(0.02)
    assert found.looks == (10, 10, {})
    # Half of its time it really sleeps.
    found = sample(0.2, 0.02, (100, 10, {"sleep": 50})).alone
    assert found.wall == pytest.approx(0.12)
    assert found.looks == (60, 10, {"sleep": 50})


def test_the_queue_is_never_all_of_the_time(monkeypatch):
    class Disturbed:
        """As a thread finds it that queues for a core between two readings."""

        def begin(self):
            pass

        def end(self):
            return 1e-6, 9e-7, 3e-4, 9e-7, 0

    record = Record(len)
    monkeypatch.setattr(measuring.native, "Probe", Disturbed)
    measuring.observed(int, (), {}, record.note, compare=False)
    signals = record.signals()
    assert signals.wall - signals.queued >= signals.cpu == 9e-7


@pytest.mark.parametrize(
    "told",
    [
        sample(0.02, 0.001, (100, 1, {"sleep": 97})),
        # Too few looks to tell, none at all, and some that might have missed it.
        sample(0.02, 0.001, (7, 7, {})),
        sample(0.02, 0.001, (0, 0, {})),
        sample(0.02, 0.01, (16, 8, {"socket": 5})),
        # It queues for a core, which is told apart already.
        sample(0.02, 0.01, (100, 100, {}), queued=0.01),
    ],
)
def test_other_samples_stay_as_they_are(told):
    assert told.alone == told


def test_what_was_seen_beside_others_of_its_kind_is_no_cost_of_a_call():
    def work():
        pass

    record = Record(work)
    for _ in range(3):
        record.note(sample(0.02, 0.02, (100, 100, {})))
    record.decision = Decision("process", 2, 1, "two compute at once", ())
    for _ in range(9):
        record.note(sample(0.08, 0.02, (100, 25, {}), queued=0.06))
    signals = record.signals()
    assert (signals.wall, signals.queued) == (0.02, 0.0)


def test_all_calls_tell_how_busy_the_machine_is():
    record = Record(lambda: None)
    record.note(Sample(0.3, 0.3, 0.0, 0.3, 0, (9, 9, {}), rivals=9))
    for queued, rivals in ((0.0, 2), (0.03, 4), (0.0, None)):
        one = Sample(0.01 + queued, 0.01, queued, 0.01, 0, (9, 9, {}), rivals=rivals)
        record.note(one)
    signals = record.signals()
    assert signals.wall == pytest.approx(0.02)
    assert signals.queued == pytest.approx(0.01)
    assert signals.rivals == 5
    # A library's own threads look for more work for a while.
    for _ in range(5):
        record.note(Sample(0.01, 0.01, 0.0, 0.02, 0, (9, 9, {}), rivals=3))
    assert record.signals().rivals == 9
    # Who has computed for long and never queued has no rivals that count.
    record = Record(lambda: None)
    for wall in (0.3, 0.01, 0.01):
        record.note(Sample(wall, wall, 0.0, wall, 0, (9, 9, {}), rivals=2))
    assert record.signals().rivals is None
    # Beside others of its kind, those are among who wants a core.
    assert one.in_a_crowd().rivals is None
    assert Sample(1, 1, 0, 1, 0, (9, 9, {}), rivals=3).beside_others().rivals is None


def seen(wall, cpu):
    """Return what calls have shown that take so long."""
    record = Record(lambda: None)
    record.note(sample(wall, cpu, (100, 0, {"sleep": round(100 * (1 - cpu / wall))})))
    return record.signals()


SIGNALS, WAITING = seen(0.01, 0.01), seen(0.01, 0.005)


@pytest.fixture
def told(monkeypatch):
    """Tell what the estimates are, the best one first."""
    found = []
    monkeypatch.setattr(deciding, "estimates", lambda *_, **__: found)

    def tell(**seconds):
        ordered = sorted(seconds, key=seconds.get)
        found[:] = [
            Estimate(method, WIDTHS[method], 1, seconds[method], 0.0, 0.0, 0, method)
            for method in ordered
        ]

    return tell


WIDTHS = {"serial": 1, "thread": 5, "process": 2}


def test_what_is_left_of_a_map_is_not_moved(told):
    before = Decision("thread", 30, 1, "thirty take turns", ())
    told(serial=1.0, thread=2.0)
    made = deciding.decided(SIGNALS, Need(5), before=before)
    # Nor is it told that it were better elsewhere, or narrower.
    assert made[:4] == ("thread", 30, 1, "thirty take turns")
    assert deciding.decided(SIGNALS, Need(50), before=before).method == "serial"
    told(serial=3.0, thread=2.0)
    assert deciding.decided(SIGNALS, Need(5), before=before)[1] == 30
    assert deciding.decided(SIGNALS, Need(50), before=before)[1] == 5


def test_the_last_chunk_of_a_map_says_nothing_of_how_many_are_under_way(monkeypatch):
    def estimates(signals, batch, **_):
        return [Estimate("process", min(2, -(-batch // 8)), 8, 1.0, 0.0, 0.0, 0, "two at once")]

    monkeypatch.setattr(deciding, "estimates", estimates)
    before = Decision("process", 2, 8, "two at once", ())
    for batch in (7, 9, 900):
        assert deciding.decided(SIGNALS, Need(batch), before=before).width == 2
    assert deciding.decided(SIGNALS, Need(7)).width == 1


@pytest.fixture
def on_more(monkeypatch):
    """Tell how much longer two processes take than eight, which are the best there are."""

    def tell(ratio):
        def estimates(signals, batch, *, processes, **_):
            width, seconds = (8, 1.0) if processes == 8 else (2, ratio)
            found = [("process", seconds, width), ("serial", 4.0, 1)]
            return [Estimate(name, w, 1, took, 0.0, 0.0, 0, name) for name, took, w in found]

        monkeypatch.setattr(deciding, "estimates", estimates)

    return tell


def test_calls_that_wait_have_more_processes_once_those_are_up(on_more):
    on_more(1.5)
    made = deciding.decided(WAITING, Need(50, processes=2, wide=8))
    assert (made.method, made.width, made.wants_more) == ("process", 2, True)
    made = deciding.decided(WAITING, Need(50, processes=2, wide=8, is_wide_up=True))
    assert (made.method, made.width, made.wants_more) == ("process", 8, False)
    # The user's own pool is as wide as he wants it, and cores are for what computes.
    for signals, wide in [(WAITING, 0), (SIGNALS, 8)]:
        made = deciding.decided(signals, Need(50, processes=2, wide=wide, is_wide_up=True))
        assert (made.width, made.wants_more) == (2, False)
    barred = (("process", "has an effect"),)
    made = deciding.decided(WAITING, Need(50, (), barred, processes=2, wide=8))
    assert (made.method, made.wants_more) == ("serial", False)


def test_more_processes_are_worth_their_start_only_where_they_gain_much(on_more):
    on_more(1.1)
    up = Need(50, processes=2, wide=8, is_wide_up=True)
    assert not deciding.decided(WAITING, up._replace(is_wide_up=False)).wants_more
    assert deciding.decided(WAITING, up).width == 2
    # Where calls are there already they stay.
    before = Decision("process", 8, 1, "", ())
    assert deciding.decided(WAITING, up, before=before).width == 8


def test_what_is_barred_is_left_whatever_is_left(told):
    before = Decision("process", 2, 1, "two compute at once", ())
    told(process=1.0, serial=2.0)
    made = deciding.decided(SIGNALS, Need(1), process="reads what others write", before=before)
    assert made.method == "serial"
    assert made.reason == "reads what others write; serial"


def test_a_large_object_costs_its_making_in_the_other_process():
    # Pickling copies none of it, so the clock tells of nothing.
    large, small = (Arguments((bytes(size),), {}) for size in (1 << 24, 1 << 10))
    assert large.seconds >= 5e-10 * large.size > 100 * NUMBER
    assert large.seconds > small.seconds
    assert Arguments((1, 2.0), {"key": None}).seconds == 3 * NUMBER
