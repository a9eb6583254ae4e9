"""What carrying a call to a process takes, and what is said of what cannot be carried."""

import io
import sqlite3
import sys
import threading
import weakref
from pathlib import Path

import pytest

from plait._measure.carriage import Carriage, weigh
from plait._measure.uncarried import parameter_names


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "helpers"))
    import measured

    return measured


def take(thing, *rest, key=None):
    return None


class Holder:
    def __init__(self, thing):
        self.thing = thing


class Lock:
    """A class of the user's own that happens to have a known name."""

    def __reduce__(self):
        raise TypeError("not me")


def test_what_is_carried_is_weighed():
    light = weigh(len, (b"x",), 1)
    heavy = weigh(len, (bytearray(10_000_000),), b"result")
    assert isinstance(light, Carriage)
    assert isinstance(heavy, Carriage)
    assert heavy.argument_bytes > 10_000_000 > light.argument_bytes > 0
    assert 6 < heavy.result_bytes < 100
    assert heavy.seconds > light.seconds >= 0
    assert heavy.size == heavy.argument_bytes + heavy.result_bytes


def test_an_open_file_is_named_with_its_cure(tmp_path):
    with (tmp_path / "f").open("w") as file:
        assert weigh(take, (file,), None) == (
            "its argument cannot be pickled: `thing`, an open file; pass its path instead"
        )


def unpicklable_things():
    lock = threading.Lock()
    yield lock, "a lock", "keep what it guards in one place"
    yield threading.RLock(), "a lock", "keep what it guards in one place"
    yield threading.Condition(), "a lock", "keep what it guards in one place"
    yield (number for number in range(3)), "a generator", "pass a list of what it gives"
    yield threading.local(), "a thread's own variables", "pass their values"
    yield threading.Thread(target=print), "a thread", "pass what it works on"
    yield weakref.ref(take), "a weak reference", "pass the object itself"
    yield sys._getframe(), "a stack frame", "pass what is needed of it"


@pytest.mark.parametrize(("thing", "kind", "cure"), list(unpicklable_things()))
def test_each_kind_has_its_cure(thing, kind, cure):
    said = weigh(take, (thing,), None)
    assert isinstance(said, str)
    assert f"its argument cannot be pickled: `thing`, {kind}; " in said
    assert said.endswith(cure)


def test_a_connection_has_its_cure():
    database = sqlite3.connect(":memory:")
    try:
        said = weigh(take, (database,), None)
        assert "`thing`, a connection; pass what it connects to and connect there" in said
        said = weigh(take, (database.cursor(),), None)
        assert "a cursor of a connection; pass the query and connect there" in said
    finally:
        database.close()


def test_what_is_inside_is_named():
    said = weigh(take, (Holder(threading.Lock()),), None)
    assert said.startswith(
        "its argument cannot be pickled: `thing`, a Holder with a lock in it; each process"
    )
    said = weigh(take, (1, {"file": io.TextIOWrapper(io.BytesIO())}), None)
    assert "`*rest`, a dict with an open file in it; pass its path instead" in said


def test_a_class_of_the_users_own_is_not_taken_for_a_known_one():
    assert weigh(take, (Lock(),), None) == (
        "its argument cannot be pickled: `thing`, a Lock (TypeError: not me)"
    )


def test_a_function_that_closes_over_a_lock_is_named():
    lock = threading.Lock()

    def guarded():
        with lock:
            return 1

    assert weigh(guarded, (), None).startswith(
        "the function cannot be pickled: it needs a lock; each process would have its own"
    )


def test_a_bound_method_of_a_lock_is_named():
    assert "the function cannot be pickled" in weigh(threading.Lock().acquire, (), None)


def test_a_result_is_named(measured):
    said = weigh(measured.generator, (), measured.generator())
    assert said == "its result cannot be pickled: a generator; pass a list of what it gives"


def test_a_result_that_cannot_be_loaded_is_named(measured):
    clause = weigh(measured.loadless, (), measured.Loadless())
    assert clause == "its result cannot be pickled (LookupError: cannot be loaded)"


def test_a_lambda_and_what_main_defines_are_carried():
    assert isinstance(weigh(lambda number: number, (lambda: 1,), None), Carriage)


@pytest.mark.parametrize(
    ("function", "count", "names"),
    [
        (take, 3, ["thing", "*rest", "*rest"]),
        (lambda first, second: None, 2, ["first", "second"]),
        (lambda *, only: None, 1, ["argument 1"]),
        (dict.fromkeys, 0, []),
        (type, 2, ["argument 1", "argument 2"]),
    ],
)
def test_arguments_have_the_names_of_the_functions_parameters(function, count, names):
    assert parameter_names(function, (None,) * count) == names
