"""The benchmark of tasks: its rows run."""

from typing import Any

import pytest


@pytest.mark.parametrize("peer", ["concurrent.futures", "multiprocessing", "plait"])
@pytest.mark.parametrize("row", ["parallel", "group"])
def test_a_row_runs_or_says_why_not(bench: Any, row: str, peer: str) -> None:
    found = bench("task_model.rows").BY_NAME[row]
    measure_row = bench("pool.measure").measure_row
    result = measure_row(found, [peer], rounds=1, count=found.count, module="task_model.perform")
    if row == "group" and peer != "plait":
        assert result.unable == {peer: "Unable: it has no such thing"}
        return
    assert result.unable == {}
    (figures,) = result.figures[peer]
    assert set(figures) == set(found.figures)
    assert all(value > 0 for value in figures.values())
