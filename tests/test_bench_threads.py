"""The thread pool's benchmark: its rows run."""

from typing import Any

import pytest


def measure(bench: Any, row: str, peer: str) -> Any:
    found = bench("threads.rows").BY_NAME[row]
    return bench("pool.measure").measure_row(
        found, [peer], rounds=1, count=20, module="threads.perform"
    )


@pytest.mark.parametrize("peer", ["concurrent.futures", "multiprocessing", "anyio", "plait"])
@pytest.mark.parametrize("row", ["bulk", "trip", "await", "gather"])
def test_a_row_runs_or_says_why_not(bench: Any, row: str, peer: str) -> None:
    result = measure(bench, row, peer)
    unable = {
        "anyio": ("bulk", "trip"),
        "multiprocessing": ("await", "gather"),
    }
    if row in unable.get(peer, ()):
        assert result.figures == {}
        assert "it has no" in result.unable[peer]
        return
    assert result.unable == {}
    (figures,) = result.figures[peer]
    assert set(figures) == set(bench("threads.rows").BY_NAME[row].figures)
    # The clock of CPU time may not have moved on.
    assert all(value > 0 or name == "CPU" for name, value in figures.items())


def test_limits_are_measured(bench: Any, monkeypatch: Any) -> None:
    limits = bench("threads.limits")
    monkeypatch.setattr(limits, "CALLS", 100)
    monkeypatch.setattr(limits, "TRIPS", 100)
    measured = limits.Limits()
    measured.round()
    measured.round()
    assert [len(limit.values) for limit in measured.all] == [2, 2, 2]
    assert all(value > 0 for limit in measured.all for value in limit.values)
