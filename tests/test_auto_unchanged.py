"""`on="auto"` changes no result: functions as users write them, called plainly and by plait."""

import functools

import pytest
import unchanged_objects
import unchanged_state
import unchanged_world
from choosing import choose
from unchanged import WAYS, outcome, plainly

import plait
from plait._auto import calling
from plait._auto.record import Record

CASES = [*unchanged_state.CASES, *unchanged_objects.CASES, *unchanged_world.CASES]
# What it is decided to do with each, where it may.
DECIDED = {
    "here": {"thread": "serial", "process": "serial"},
    "this thread": {"thread": "serial", "process": "serial"},
    "this process": {"thread": "thread", "process": "serial"},
    "anywhere": {"thread": "thread", "process": "process"},
}
FIRST = 3


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory):
    """Have the cases where processes find them."""
    folder = tmp_path_factory.mktemp("unchanged")
    for case in CASES:
        (folder / f"{case.module}.py").write_text(case.source)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Know no function, and decide after a few calls."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})
    monkeypatch.setattr(Record, "knows_enough", lambda self: self.measured >= FIRST)
    # Nor by how long it takes here to compare what workers have.
    monkeypatch.setattr(calling, "_COMPARED", float("inf"))


def tried(methods=("thread", "process"), ways=tuple(WAYS)):
    """List what is tried: cases, ways to call them, and what is decided."""
    return [
        pytest.param(case, way, method, id=f"{case.name}-{way}-{method}")
        for case in CASES
        for way in ways
        for method in methods
        if case.allows(way)
    ]


@pytest.fixture(scope="module")
def expected():
    """Remember what comes of a case without plait."""
    return functools.cache(lambda case: outcome(case, plainly)[1])


@pytest.mark.parametrize(("case", "way", "method"), tried())
def test_unchanged(monkeypatch, expected, case, way, method):
    without = expected(case)
    choose(monkeypatch, method)
    function, found = outcome(case, WAYS[way])
    # One by one: all together is long to read.
    for what, value in found.items():
        assert value == without[what], what
    explained = plait.explain(function)
    if case.place:
        assert explained.decision == DECIDED[case.place][method], str(explained)
