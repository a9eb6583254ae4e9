"""Plain values travel as bytes of their own: what comes out is what pickle gives."""

import contextlib
import enum
import math
import pickle
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait._binding import native

write: Any = native._write_plain  # type: ignore[attr-defined]
read: Any = native._read_plain  # type: ignore[attr-defined]
write_call: Any = native._write_plain_call  # type: ignore[attr-defined]
call: Any = native._call_plain  # type: ignore[attr-defined]


def shape(value: Any) -> list[Any]:
    """Describe a value: classes, contents, order, and which objects are one and the same."""
    places: dict[int, int] = {}
    kept = []
    found: list[Any] = []

    def visit(item: Any) -> None:
        kind = type(item)
        # Short ones are the interpreter's, which has each once.
        if (
            kind in (list, dict)
            or (kind in (tuple, str, bytes) and len(item) > (kind is not tuple))
            or kind is complex
        ):
            if id(item) in places:
                found.append(places[id(item)])
                return
            places[id(item)] = len(places)
            kept.append(item)
        if kind in (list, tuple):
            found.append((kind, len(item)))
            for part in item:
                visit(part)
        elif kind is dict:
            found.append((kind, len(item)))
            for key, part in item.items():
                visit(key)
                visit(part)
        else:
            # A NaN is not equal to itself, and -0.0 is to 0.0.
            found.append((kind, repr(item)))

    visit(value)
    return found


def assert_same(value: Any) -> None:
    data = write(value)
    assert data is not None
    assert data[:1] != pickle.dumps(value, 5)[:1]
    assert shape(read(data)) == shape(pickle.loads(pickle.dumps(value, 5)))


atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(), max_size=40)
    | st.binary(max_size=400)
)
keys = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
trees = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=6).map(tuple)
        | st.dictionaries(keys | st.tuples(keys, keys), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(trees)
def test_trees_are_as_pickle_makes_them(value):
    assert_same(value)


@st.composite
def graphs(draw):
    """Containers that hold each other in any way."""
    nodes: list[Any] = [draw(atoms) for _ in range(3)]
    for _ in range(draw(st.integers(1, 10))):
        parts = [
            nodes[draw(st.integers(0, len(nodes) - 1))] for _ in range(draw(st.integers(0, 4)))
        ]
        kind = draw(st.sampled_from([list, tuple, dict]))
        nodes.append(dict(enumerate(parts)) if kind is dict else kind(parts))
    for _ in range(draw(st.integers(0, 4))):
        container, item = (nodes[draw(st.integers(0, len(nodes) - 1))] for _ in range(2))
        if type(container) is list:
            container.append(item)
        elif type(container) is dict:
            container[len(container)] = item
    return nodes[draw(st.integers(3, len(nodes) - 1))]


def test_a_complex_number_that_occurs_twice_is_one():
    number = complex(1, 2)
    value = [number, number, complex(1, 2)]
    assert_same(value)
    copy = read(write(value))
    assert copy[0] is copy[1]


@given(graphs())
def test_who_is_whom_is_as_with_pickle(value):
    data = write(value)
    # Only a tuple that is in itself is refused.
    if data is not None:
        assert shape(read(data)) == shape(pickle.loads(pickle.dumps(value, 5)))


def test_cycles():
    ring: list[Any] = [1]
    ring.append(ring)
    (again,) = read(write((ring,)))
    assert again[1] is again

    table: dict[str, Any] = {}
    table["me"] = [table]
    again = read(write(table))
    assert again["me"][0] is again

    inside: list[Any] = []
    knot = (inside, 1)
    inside.append(knot)
    assert write(knot) is None
    # From the list's side it is the list that is met again.
    assert_same([inside, 2])


def test_text_of_every_width_and_lone_surrogates():
    for text in ("", "a", "é", "ascii text", "é" * 300, "Ж" * 5, "a\U0001f600", "\ud800x", "\0"):
        assert_same(text)
        # Where the characters begin in the message differs.
        for shift in range(5):
            assert read(write(("x" * shift, text)))[1] == text


def test_floats_keep_their_bits():
    for number in (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324):
        assert math.copysign(1, read(write(number))) == math.copysign(1, number)
        assert_same(number)


class Colour(enum.IntEnum):
    RED = 1


class Int(int):
    pass


class Text(str):
    pass


class Pair(NamedTuple):
    a: int
    b: int


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        Colour.RED,
        Int(1),
        Text("x"),
        Pair(1, 2),
        OrderedDict(a=1),
        {1, 2},
        frozenset([1]),
        bytearray(b"x"),
        memoryview(b"x"),
        range(3),
        ...,
        object(),
        len,
        int,
        [1, Int(2)],
        {Text("x"): 1},
        b"x" * 100_000,
        "x" * 100_000,
        [0.5] * 200_000,
    ],
    ids=lambda value: f"{type(value).__name__}-{repr(value)[:20]}",
)
def test_everything_else_is_left_to_pickle(value):
    assert write(value) is None
    assert write_call((1, value)) is None
    assert write_call((), {"value": value}) is None


def test_what_is_deep_or_tangled_is_left_to_pickle():
    deep: list[Any] = []
    for _ in range(20):
        deep = [deep]
    assert_same(deep)
    for _ in range(20):
        deep = [deep]
    assert write(deep) is None
    shared = [[number] for number in range(200)]
    assert write([shared, *shared]) is None


def test_calls():
    def give(*args, **kwargs):
        return args, kwargs

    for args, kwargs in [
        ((), {}),
        ((1,), {}),
        ((1, "two", 3.0), {"four": [4]}),
        (tuple(range(200)), {f"k{n}": n for n in range(20)}),
    ]:
        assert call(give, write_call(args, kwargs)) == (args, kwargs)
    assert write_call(tuple(range(300))) is None

    shared = ["in two"]
    (first, second), named = call(give, write_call((shared, (shared,)), {"third": shared}))
    assert first is second[0] is named["third"]


def test_what_a_call_raises_comes_through():
    with pytest.raises(ZeroDivisionError):
        call(divmod, write_call((1, 0)))
    with pytest.raises(TypeError):
        call(divmod, write_call((1,), {"no": 1}))


def test_nobody_keeps_the_arguments():
    text = "a string that is kept by nobody else" * 2
    before = sys.getrefcount(text)
    assert read(write([text, text, (text,)]))[0] == text
    assert call(lambda *args: None, write_call((text, text))) is None
    assert sys.getrefcount(text) == before


@given(st.binary(max_size=60), st.booleans())
def test_garbage_is_an_error(data, well_begun):
    if well_begun:
        data = bytes([1]) + data
    with contextlib.suppress(ValueError, TypeError):
        read(data)
    with contextlib.suppress(ValueError, TypeError):
        call(lambda *args, **kwargs: None, bytes([2]) + data)


@given(trees, st.data())
def test_damage_is_an_error_or_another_value(value, data):
    message = bytearray(write(value))
    place = data.draw(st.integers(1, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError, TypeError):
        read(bytes(message))
    try:
        read(bytes(message[:place]))
    except (ValueError, TypeError):
        pass
    else:
        pytest.fail("a message that was cut short was read")
