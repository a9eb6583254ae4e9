"""The process pool's benchmark tells reached from not reached, and its rows run."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("bar", "unit", "shown"),
    [
        ({"times": 30, "of": "a"}, "TASKS", "40.00 (30: reached) of a"),
        ({"times": 3}, "TASKS", "2.00 (3: NOT reached) of b"),
        ({"times": 10, "of": "a"}, "MICROSECONDS", "0.03 (10: NOT reached) of a"),
        ({"least": 0.95}, "SHARE", "40.00 (0.95: reached)"),
        ({"times": 1, "of": "c"}, "TASKS", ""),
        (
            {"times": 30, "of": "a", "ahead": True},
            "TASKS",
            "40.00 (30: reached) of a; 2.00 (1: reached) of the best, b",
        ),
    ],
)
def test_a_figure_is_held_to_its_bar(
    bench: Any, bar: dict[str, Any], unit: str, shown: str
) -> None:
    rows = bench("pool.rows")
    medians = {"a": 1.0, "b": 20.0, "plait": 40.0}
    assert bench("pool.report").verdict(medians, rows.Unit[unit], rows.Bar(**bar)) == shown


def test_a_missing_figure_is_no_verdict(bench: Any) -> None:
    rows = bench("pool.rows")
    assert bench("pool.report").verdict({"a": 1.0}, rows.Unit.TASKS, rows.Bar(times=1)) == ""


# NumPy is not among what tests install.
@pytest.mark.parametrize("row", ["bulk", "trip", "await", "gather", "bytes-1m", "map", "sort"])
def test_a_row_runs_with_the_standard_pool_and_with_ours(bench: Any, row: str) -> None:
    found = bench("pool.rows").BY_NAME[row]
    result = bench("pool.measure").measure_row(
        found, ["concurrent.futures", "plait"], rounds=1, count=20
    )
    assert result.unable == {}
    for figures in result.figures.values():
        assert set(figures[0]) == set(found.figures)
        assert all(value > 0 for value in figures[0].values())


def test_a_pool_that_cannot_do_a_row_says_why(bench: Any) -> None:
    found = bench("pool.rows").BY_NAME["await"]
    result = bench("pool.measure").measure_row(found, ["multiprocessing"], rounds=1, count=1)
    assert result.figures == {}
    assert "no concurrent.futures.Executor" in result.unable["multiprocessing"]


@pytest.mark.parametrize(
    ("each", "count", "done"),
    [(1e-6, 1000, 1000), (0.005, 1000, 200), (10.0, 1000, 50), (0.4, 3, 2)],
)
def test_a_slow_pool_repeats_less(bench: Any, each: float, count: int, done: int) -> None:
    assert bench("pool.programs").affordable(lambda count: each * count, count) == done
