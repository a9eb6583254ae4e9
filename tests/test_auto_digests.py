"""Whether a value here is equal to another in a worker: `plait._auto.digesting`."""

import enum
import functools
import threading
import types
from unittest import mock

import pytest

import plait
from plait._auto.digesting import Incomparable, digest
from plait._auto.guarding import replaced


def power(x, n=2, *, table=(1, 2)):
    return [x**n for _ in table if x in {1, 2, 3}]


class Client:
    count = 0

    def get(self, x):
        return x

    @property
    def size(self):
        return 1


class Slow(Client):
    @staticmethod
    def wait():
        return None


class Color(enum.Enum):
    RED = 1


def made(fn, **changes):
    """Make a function of the same code, changed."""
    code = fn.__code__.replace(**changes)
    again = types.FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    again.__kwdefaults__ = fn.__kwdefaults__
    again.__qualname__ = fn.__qualname__
    return again


def remote(value):
    return digest(value)


VALUES = [
    power,
    Client,
    Slow,
    Slow(),
    Color,
    Color.RED,
    functools.partial(power, 3),
    {"a": [power, {1, 2, "x"}], "b": frozenset("abc")},
    len,
    threading.Lock,
    threading,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_it_is_the_same_in_a_process(value):
    assert plait.submit(remote, value, on="process").result(60) == digest(value)


def test_functions_are_told_apart_by_their_code():
    assert digest(made(power, co_filename="elsewhere.py")) == digest(power)
    assert digest(made(power, co_names=("other",))) != digest(power)
    assert digest(made(power, co_consts=(*power.__code__.co_consts[:-1], 7))) != digest(power)
    other = made(power)
    other.__defaults__ = (3,)
    assert digest(other) != digest(power)
    other = made(power)
    other.__qualname__ = "other"
    assert digest(other) != digest(power)


def test_closures_are_told_apart_by_what_they_hold():
    def adder(n):
        return lambda x: x + n

    assert digest(adder(1)) == digest(adder(1))
    assert digest(adder(1)) != digest(adder(2))

    def unbound():
        return later

    empty = digest(unbound)
    later = 1
    assert digest(unbound) != empty


@pytest.mark.parametrize("new", [lambda self, x: -x, mock.DEFAULT])
def test_a_method_that_was_replaced_shows(new):
    before = digest(Client), digest(Slow), digest(Slow()), digest({"a": Slow})
    with mock.patch.object(Client, "get", new):
        after = digest(Client), digest(Slow), digest(Slow()), digest({"a": Slow})
        assert all(one != other for one, other in zip(before, after, strict=True))
    assert before == (digest(Client), digest(Slow), digest(Slow()), digest({"a": Slow}))


@pytest.mark.parametrize("cls", [Client, Slow])
def test_data_of_a_class_counts_for_its_objects(monkeypatch, cls):
    before = digest(cls()), digest(cls)
    monkeypatch.setattr(Client, "count", 1)
    assert digest(cls()) != before[0]
    assert digest(cls) != before[1]
    monkeypatch.setattr(Client, "count", 0)
    assert (digest(cls()), digest(cls)) == before


def test_a_task_is_its_function():
    assert digest(plait.task(power, retries=1)) == digest(power)


def test_a_function_that_was_replaced_is_compared(monkeypatch):
    monkeypatch.setattr("plait._auto.guarding._sent", {})
    assert replaced(power) == frozenset()
    new = made(power, co_names=("other",))
    monkeypatch.setitem(globals(), "power", new)
    assert replaced(new) == {(__name__, "power")}
    monkeypatch.undo()
    assert replaced(power) == frozenset()
    assert replaced(lambda: power) == replaced(len) == frozenset()


def test_what_leads_to_itself():
    def recursive(n):
        return recursive(n - 1)

    class Node:
        def next(self):
            return super().__str__()

    assert digest(recursive) == digest(recursive)
    assert digest(Node) == digest(Node)
    endless = []
    endless.append(endless)
    with pytest.raises(Incomparable, match="leads to itself"):
        digest(endless)


def test_what_cannot_be_compared_says_so():
    with pytest.raises(Incomparable, match="lock"):
        digest([threading.Lock()])
    with pytest.raises(Incomparable, match="too large"):
        digest(list(range(10_000)))
    with pytest.raises(Incomparable, match="too large"):
        digest("x" * (2 << 20))
