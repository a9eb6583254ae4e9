"""The runner of other people's suites tells every fate of a case, and a list that is not true."""

import sys

import pytest

import listed
import suites
import test_asyncio
import test_futures
from environment import Environment
from interpreters import probe
from suites import Case


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    interpreter = probe(sys.executable)
    assert interpreter is not None
    # The environment that runs this test, wherever it is.
    monkeypatch.setattr(Environment, "python", sys.executable)
    return Environment("dev", interpreter)


@pytest.mark.parametrize("loop", ["plait", "asyncio"])
def test_each_case_is_reported_once(environment: Environment, loop: str) -> None:
    outcome = suites.run(environment, loop, "asyncio", ["sample.Fates", "sample.Plait"], 60)
    assert outcome.problem is None
    alone = "failed" if loop == "plait" else "passed"
    assert sorted((case.name, case.outcome, case.loops) for case in outcome.cases) == [
        ("sample.Fates.test_fails", "failed", 0),
        ("sample.Fates.test_passes", "passed", 1),
        ("sample.Fates.test_skipped", "skipped", 0),
        ("sample.Plait.test_fails_on_plait_alone", alone, 1),
    ]


def test_a_crash_and_a_hang_are_problems_that_name_the_case(environment: Environment) -> None:
    names = ["sample.Fates", "sample.Crash"]
    crashed = suites.run(environment, "plait", "asyncio", names, 60)
    assert len(crashed.cases) == 3
    assert crashed.problem == "ended early (killed by SIGABRT), in sample.Crash.test_crashes"
    # The child must start Python and get to the case before that, on a busy machine too.
    for limit in (4, 20):
        hung = suites.run(environment, "plait", "asyncio", ["sample.Hang"], limit)
        if "in test_hangs" in hung.output:
            break
    assert hung.problem == f"still ran after {limit} s, in sample.Hang.test_hangs"
    assert "threading.py" in hung.output, "the stacks were not shown"


def test_a_module_that_cannot_be_loaded_is_a_problem(environment: Environment) -> None:
    outcome = suites.run(environment, "asyncio", "asyncio", ["no_such_module"], 60)
    assert outcome.problem is not None or [case.outcome for case in outcome.cases] == ["failed"]


def test_the_list_must_be_true() -> None:
    failed = Case("test.test_asyncio.test_a.B.test_fails", "failed", "", 1)
    passed = Case("test.test_asyncio.test_a.B.test_passes", "passed", "", 1)
    alike = Case("test.test_asyncio.test_a.B.test_alike", "failed", "", 1)

    def bad(*patterns: str) -> list[str]:
        verdict = listed.Verdict(cases=[failed, passed, alike])
        entries = [listed.Entry(pattern, "a reason", ()) for pattern in patterns]
        test_asyncio.SUITE.judge(verdict, [failed], entries)
        return [line.removeprefix("asyncio_exceptions.toml: ") for line in verdict.bad]

    assert bad() == ["test_a.B.test_fails failed"]
    assert bad("test_a.B.test_fails") == []
    assert bad("test_a.*.test_f*s") == []
    assert bad("test_a.B.*") == [
        "test_a.B.*: test_a.B.test_passes is passed",
        "test_a.B.*: test_a.B.test_alike fails on asyncio too",
    ]
    assert bad("test_a.B.test_fails", "test_z.*") == ["test_z.* matches no case"]


@pytest.mark.parametrize("suite", [test_asyncio.SUITE, test_futures.SUITE], ids=lambda s: s.name)
def test_the_list_is_in_its_form(suite: listed.Suite) -> None:
    for version in ("3.11", "3.12", "3.13", "3.14"):
        suite.read_exceptions(version)
    assert suite.exceptions.is_file()
