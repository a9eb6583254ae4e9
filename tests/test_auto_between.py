"""What others change between the calls of a map, of what its function reads, changes no result."""

import functools
import types

import pytest
from choosing import choose

import plait

methods = pytest.mark.parametrize("method", ["serial", "thread", "process"])


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Have every function be unknown."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})


class Held:
    """An object whose attributes others set."""

    def __init__(self):
        self.count = 0

    def read(self, x):
        return self.count + x


# Made anew for each case: no other code is seen to change what is in it.
CODE = """
class Held:
    count = 0

table, held = {"count": 0}, Held()

def of_a_global(x):
    return table["count"] + x

def of_an_object(x):
    return held.count + x

def of_a_default(x, given=table):
    return given["count"] + x
"""


def made():
    names = {"__name__": "made"}
    exec(compile(CODE, "made.py", "exec"), names)
    return types.SimpleNamespace(**names)


def of_an_argument(given, x):
    return given["count"] + x


def of_a_keyword(x, *, given):
    return given["count"] + x


def of_a_closure():
    seen = []

    def read(x):
        return len(seen) + x

    return read, seen.append


def by_item(mapping):
    # A name that tells no code what is changed.
    return lambda _: mapping.__setitem__("count", mapping["count"] + 1)


def by_attribute(obj):
    return lambda _: vars(obj).__setitem__("count", obj.count + 1)


def cases():
    code, own, given, keyword = made(), Held(), {"count": 0}, {"count": 0}
    return {
        "global": (code.of_a_global, by_item(code.table)),
        "object": (code.of_an_object, by_attribute(code.held)),
        "default": (code.of_a_default, by_item(code.table)),
        "method": (own.read, by_attribute(own)),
        "partial": (functools.partial(of_an_argument, given), by_item(given)),
        "keyword": (functools.partial(of_a_keyword, given=keyword), by_item(keyword)),
        "closure": of_a_closure(),
    }


def taken(map_, case):
    """Change what the function reads with each result that is taken."""
    fn, change = cases()[case]
    found = []
    for result in map_(fn, range(40)):
        found.append(result)
        change(result)
    return found


@pytest.mark.parametrize("case", cases())
@methods
def test_by_who_takes_the_results(monkeypatch, method, case):
    choose(monkeypatch, method)
    assert taken(plait.map, case) == taken(map, case)


@methods
def test_by_who_takes_the_results_in_a_coroutine(monkeypatch, method):
    choose(monkeypatch, method)

    async def main():
        found = []
        fn, change = cases()["closure"]
        async for result in plait.map(fn, range(40)):
            found.append(result)
            change(result)
        return found

    assert plait.run(main()) == taken(map, "closure")


def test_it_is_said(monkeypatch):
    choose(monkeypatch, "process")
    code = made()
    for _ in plait.map(code.of_a_global, range(40)):
        by_item(code.table)(None)
    explained = plait.explain(code.of_a_global)
    assert explained.decision == "serial"
    assert "reads or holds what is changed between its calls" in explained.reason


def test_what_changes_between_maps_keeps_nothing(monkeypatch):
    choose(monkeypatch, "thread")
    code = made()
    assert list(plait.map(code.of_a_global, range(40))) == list(range(40))
    by_item(code.table)(None)
    assert list(plait.map(code.of_a_global, range(40))) == list(range(1, 41))
    assert plait.submit(code.of_a_global, 1, on="auto").result(60) == 2
    by_item(code.table)(None)
    assert plait.submit(code.of_a_global, 1, on="auto").result(60) == 3
    explained = plait.explain(code.of_a_global)
    assert (explained.decision, explained.effects) == ("thread", ())
