"""The loop's benchmarks tell reached from not reached, and their rows run."""

import sys
from typing import Any

import pytest


def sample(bench: Any, cpu: float) -> Any:
    return bench("loop.load").Sample(10, 1.0, cpu * 10, 0.5, 0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("ours", "of_limit", "of_reference"),
    [
        (1.0, "1.00 (1.1: reached)", "1.50 (1.12: reached)"),
        (1.2, "1.20 (1.1: NOT reached)", "1.25 (1.12: reached)"),
        (1.5, "1.50 (1.1: NOT reached)", "1.00 (1.12: NOT reached)"),
    ],
)
def test_a_server_is_held_to_both_bars(
    bench: Any, ours: float, of_limit: str, of_reference: str
) -> None:
    row = bench("loop.server_rows").ROWS[0]
    result = bench("loop.servers").ServerResult(row)
    for name, cpu in (("plait", ours), ("limit", 1.0), ("uvloop", 1.5)):
        result.samples[name] = [sample(bench, cpu)]
    assert bench("loop.server_report").verdicts(result) == (of_limit, of_reference)


def test_a_program_without_a_bar_is_held_to_the_best_peer(bench: Any) -> None:
    timing = bench("loop.callbacks").Timing
    row = bench("loop.callback_rows").BY_NAME["connect"]
    result = bench("loop.callbacks").CallbackResult(row)
    for name, wall in (("asyncio", 4.0), ("uvloop", 3.0), ("rloop", 1.0), ("plait", 2.0)):
        result.timings[name] = [timing(wall, wall)]
    verdict, by_cpu = bench("loop.callback_report").verdicts(result)
    assert verdict == "0.50 (1: NOT reached) of rloop"
    assert by_cpu == "0.50"


def test_what_is_missing_is_said_once(bench: Any) -> None:
    lines = bench("notes").notes([("a", {"x": "no"}), ("b", {"x": "no", "y": "never"})])
    assert "- x: a, b: no" in lines
    assert "- y: b: never" in lines


def test_every_program_runs(bench: Any) -> None:
    peers = bench("loop.peers")
    watch = bench("loop.micro.watch").Watch
    for row in bench("loop.callback_rows").ROWS:
        timed = watch()
        row.program(peers.factory("asyncio"), row.step, timed)
        assert timed.wall > 0, row.name


def test_a_child_tells_its_times_or_why_it_cannot(bench: Any) -> None:
    child = bench("child")
    with child.Child(child.python("loop.perform", "plait", "sleep", "0")) as working:
        wall, cpu = bench("loop.callbacks").run(working, 10)
        assert wall > 0
        assert cpu > 0
    with (
        child.Child(child.python("loop.perform", "no_such_loop", "sleep", "0")) as broken,
        pytest.raises(child.Unable, match="no_such_loop"),
    ):
        bench("loop.callbacks").run(broken, 10)


def test_a_server_starts_and_ends_with_who_started_it(bench: Any) -> None:
    child = bench("child")
    command = child.python("loop.serve", "plait", "protocol", "0", "", "")
    starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    with child.Child([sys.executable, "-c", starter, *command]) as between:
        assert between.answer(30)["port"] > 0
        between.hang_up()
        assert between.last_words() == "exit status 0"
        # Its output is the server's too, and ends with the last of the two.
        with pytest.raises(child.Unable, match="exit status 0"):
            between.answer(30)
