"""The benchmark of the choice: its rows run, and right and wrong are told apart."""

import os
import threading
from typing import Any

import pytest

import plait

NAMES = [
    "python",
    "json",
    "hash-big",
    "hash-small",
    "zlib",
    "sleep",
    "server",
    "file",
    "mix",
    "trifle",
    "unpicklable",
    "warm-up",
    "coroutine",
]


def result(bench: Any, times: dict[str, float], choice: str, **workers: int) -> Any:
    row = bench("choice.rows").BY_NAME["python"]
    found = bench("choice.measure").Result(row, 30)
    found.times = {way: [seconds] for way, seconds in times.items()}
    found.chosen["measure"] = {
        "choice": choice,
        "workers": workers,
        "seconds": {"serial": 2.0, "process": 0.5},
        "wall": 0.1,
        "cpu": 0.1,
        "waited": 0.0,
        "held": None,
        "took": 0.2,
        "reason": "",
    }
    return found


@pytest.mark.parametrize(
    ("times", "choice", "workers", "right", "regret"),
    [
        ({"serial": 1.0, "process@2": 0.5}, "process", {"process": 2}, True, 1.0),
        ({"serial": 1.0, "process@2": 0.5}, "serial", {}, False, 2.0),
        ({"serial": 0.55, "process@2": 0.5}, "serial", {}, True, 1.1),
        # The right method by the wrong number is wrong.
        ({"thread@2": 1.0, "thread@30": 0.1, "serial": 2.0}, "thread", {"thread": 2}, False, 10.0),
        # A choice that cannot be run is as bad as the worst.
        ({"serial": 1.0, "thread@6": 3.0}, "process", {"process": 2}, False, 3.0),
    ],
)
def test_a_choice_is_held_against_the_runs(
    bench: Any,
    times: dict[str, float],
    choice: str,
    workers: dict[str, int],
    right: bool,
    regret: float,
) -> None:
    judged = bench("choice.judging").judge(result(bench, times, choice, **workers), "measure")
    assert judged.is_right is right
    assert judged.regret == pytest.approx(regret)


def test_who_said_nothing_is_not_judged(bench: Any) -> None:
    found = result(bench, {"serial": 1.0}, "serial")
    assert bench("choice.judging").judge(found, "nobody") is None
    found.times.clear()
    assert bench("choice.judging").judge(found, "measure") is None


def test_about_as_many_threads_as_were_chosen_are_not_run_as_well(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, row = bench("choice.measure"), bench("choice.rows").BY_NAME["python"]

    def threads(batch: int, *widths: int) -> list[int]:
        chosen = [{"workers": {"thread": width}} for width in widths]
        return [n for method, n in measure.ways(row, batch, chosen) if method == "thread"]

    monkeypatch.setattr(measure, "USUAL_THREADS", 6)
    assert threads(48) == [6, 32]
    assert threads(48, 30, 27) == [6, 27, 30]
    assert threads(48, 25, 1) == [2, 6, 25, 32]
    # Those that were chosen are all run, and the usual number; none that would have no call.
    assert threads(30, 31, 5) == [5, 6, 30]


def test_always_the_same_has_its_regret(bench: Any) -> None:
    judging, measure = bench("choice.judging"), bench("choice.measure")
    usual = min(measure.USUAL_THREADS, 30)
    results = [
        result(bench, {"serial": 1.0, f"thread@{usual}": 0.25}, "thread"),
        # Threads could not run it.
        result(bench, {"serial": 2.0, f"process@{measure.CORES}": 1.0}, "process"),
    ]
    assert judging.always(results, "thread") == pytest.approx(1.5)
    assert judging.always(results, "process") == pytest.approx(2.5)
    assert judging.always(results, "serial") == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("loaded", "wrong", "reached"),
    [(False, 1, True), (False, 2, False), (True, 2, True), (True, 3, False)],
)
def test_the_bars(bench: Any, loaded: bool, wrong: int, reached: bool) -> None:
    judged = bench("choice.judging").Judged
    right, false = judged("serial", "serial", 1.0), judged("serial", "loop", 1.2)
    rows = [right] * (14 - wrong) + [false] * wrong
    said = bench("choice.report").verdicts(rows, loaded=loaded)
    assert f"right: {14 - wrong} of 14" in said[0]
    assert ("NOT reached" not in said[0]) is reached


def test_mean_regret_has_its_bar(bench: Any) -> None:
    judged = bench("choice.judging").Judged
    report = bench("choice.report")
    assert "(1.03: reached)" in report.verdicts([judged("a", "a", 1.02)], loaded=False)[1]
    assert "(1.03: NOT reached)" in report.verdicts([judged("a", "b", 1.05)], loaded=False)[1]


def test_the_confusion_table_counts(bench: Any) -> None:
    judged = bench("choice.judging").Judged
    rows = [judged("thread@6", "thread@2", 1.0)] * 3 + [judged("serial", "thread@6", 2.0)]
    lines = bench("choice.report").confusion(rows)
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["chosen: serial", "", "1"]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["chosen: thread", "", "3"]


def test_the_two_sections_of_the_record_are_kept(bench: Any) -> None:
    command = bench("choice.command")
    quiet, loaded = command.SECTIONS
    first = "\n".join(command.with_section("", loaded, ["| busy |"]))
    both = "\n".join(command.with_section(first, quiet, ["| still |"]))
    assert both.index(quiet) < both.index("| still |") < both.index(loaded) < both.index("| busy |")
    again = "\n".join(command.with_section(both, loaded, ["| busier |"]))
    assert "| still |" in again
    assert "| busy |" not in again
    assert again.count(loaded) == 1


# NumPy is not among what tests install; the 100 MB would be carried four times.
@pytest.mark.parametrize("name", NAMES)
def test_a_row_runs_in_every_way(bench: Any, name: str) -> None:
    measure = bench("choice.measure")
    row = bench("choice.rows").BY_NAME[name]
    found = measure.measure_row(row, rounds=1, part=1_000, told=False)
    cannot = {"process"} if name == "unpicklable" else set()
    assert set(found.unable) == cannot, found.unable
    ways = {way.partition("@")[0] for way in found.times}
    every = {"serial", "loop"} if row.coroutine else {"serial", "thread", "process"}
    assert ways == every - cannot
    # One who has seen too few calls says nothing.
    assert {each["choice"] for each in found.chosen.values()} <= every - cannot | {None}
    assert set(found.chosen) == set(measure.CHOOSERS)
    text = "\n".join(
        bench("choice.report").section([found], [], rounds=1, loaded=False, told=False)
    )
    assert f"`{name}`" in text


def test_every_row_has_a_test_but_the_big_ones(bench: Any) -> None:
    assert {*NAMES, "matrix", "100-mb"} == set(bench("choice.rows").BY_NAME)


def test_burners_compute_and_are_gone_at_the_end(bench: Any, monkeypatch: Any) -> None:
    beside = bench("choice.beside")
    started: list[Any] = []

    class Seen(beside.Child):
        def __init__(self, command: list[str]) -> None:
            super().__init__(command)
            started.append(self)

    monkeypatch.setattr(beside, "Child", Seen)
    with beside.burners(2):
        assert len(started) == 2
        assert all(os.path.exists(f"/proc/{each.pid}") for each in started)
    assert not any(os.path.exists(f"/proc/{each.pid}") for each in started)


def test_a_width_of_threads_is_met(bench: Any) -> None:
    methods = bench("choice.methods")
    with plait.ThreadPoolExecutor(3) as pool:
        before = threading.active_count()
        methods.warm_threads(pool, 3)
        assert threading.active_count() == before + 3
