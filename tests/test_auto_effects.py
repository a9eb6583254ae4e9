"""What is seen in the code of a function that makes it matter where it is called."""

import contextvars
import copyreg
import enum
import functools
import gc
import heapq
import importlib
import json
import math
import os
import random
import sys
import threading
import types
import zlib

import pytest

from plait._auto.analysis import Analysis
from plait._auto.digesting import digest
from plait._auto.records import record_of

counter = 0
cache = {}
results = []
settings = {"factor": 3}
factor = 3
lock = threading.Lock()
per_thread = threading.local()
number = contextvars.ContextVar("number", default=0)
generator = random.Random(1)
numbers = iter(range(1000))


class Point:
    """Something with a state."""

    made = 0

    def __init__(self, x):
        self.x = x
        self.seen = [x]

    def move(self, by):
        self.x += by
        return self

    def far(self):
        return abs(self.x) > 10

    @classmethod
    def count(cls):
        cls.made += 1

    @staticmethod
    def note(x):
        results.append(x)


origin = Point(0)


def effect(fn, *args, **kwargs):
    """The effect of a call, as text without its place."""
    record, before, keywords = record_of(fn)
    found = record.effect_on((*before, *args), {**keywords, **kwargs})
    return None if found is None else found.text


# -- what keeps a call where it is ------------------------------------------


def binds_a_global(x):
    global counter
    counter += x


def deletes_a_global():
    global counter
    del counter


def sets_an_item(x):
    cache[x] = 1


def deletes_an_item(x):
    del cache[x]


def appends(x):
    results.append(x)


def appends_by_an_alias(x):
    push = results.append
    push(x)


def appends_to_what_is_in_it(x):
    cache.setdefault(x, []).append(x)


def adds_in_place(x):
    mine = results
    mine += [x]


def calls_one_that_appends(x):
    return appends(x)


def hands_a_global_on(x):
    return append_to(results, x)


def append_to(target, x):
    target.append(x)
    return target


def sets_the_environment(x):
    os.environ["PLAIT_TEST"] = x


def changes_the_directory(path):
    os.chdir(path)


def sets_an_attribute_of_a_module(x):
    os.plait_test = x


def sets_an_attribute_of_a_class(x):
    Point.made = x


def calls_a_method_that_changes(x):
    origin.move(x)


def calls_a_class_method(x):
    Point.count()


def calls_a_static_method(x):
    Point.note(x)


def sets_an_attribute_of_a_function(x):
    appends.calls = x


def sets_a_slice(xs):
    results[1:2] = xs


def in_a_comprehension(xs):
    return [results.append(x) for x in xs]


def in_a_lambda(xs):
    return sorted(xs, key=lambda x: results.append(x))


def in_an_inner_function(xs):
    def inner(x):
        cache[x] = x

    for x in xs:
        inner(x)


def in_a_handler(x):
    try:
        return 1 / x
    except ZeroDivisionError:
        results.append(x)
    finally:
        pass


def in_a_with_statement(path):
    with open(path) as file:
        cache[path] = file.read()


def draws_a_random_number():
    return random.random()


def shuffles(xs):
    xs = list(xs)
    random.shuffle(xs)
    return xs


def draws_of_a_generator():
    return generator.gauss(0, 1)


def takes_from_an_iterator():
    return next(numbers)


def asks_for_a_setting():
    return gc.isenabled()


def asks_for_its_process():
    return os.getpid()


def asks_for_its_thread():
    return threading.current_thread().name


def reads_what_its_thread_has():
    return per_thread.value


def reads_what_others_bind():
    return counter


def reads_what_others_change():
    return len(results)


def warns(x):
    import warnings

    warnings.warn(str(x), stacklevel=1)


def as_a_callback(xs):
    return apply(results.append, xs)


def apply(fn, xs):
    return [fn(x) for x in xs]


def recurses(n):
    cache[n] = n
    return recurses(n - 1) if n else 0


@functools.lru_cache
def cached(x):
    results.append(x)
    return x


def decorated(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "args", "text"),
    [
        (binds_a_global, (1,), "binds the global `counter`"),
        (deletes_a_global, (), "deletes the global `counter`"),
        (sets_an_item, (1,), "sets an item of `cache`"),
        (deletes_an_item, (1,), "deletes an item of `cache`"),
        (appends, (1,), "calls `results.append()`"),
        (appends_by_an_alias, (1,), "calls `results.append()`"),
        (appends_to_what_is_in_it, (1,), "`cache."),
        (adds_in_place, (1,), "changes `results` by `+=`"),
        (calls_one_that_appends, (1,), "calls `results.append()`"),
        (hands_a_global_on, (1,), "calls `target.append()`"),
        (sets_the_environment, ("x",), "sets an item of `os.environ`"),
        (changes_the_directory, ("/",), "`os.chdir`"),
        (sets_an_attribute_of_a_module, (1,), "`plait_test` of `os`"),
        (sets_an_attribute_of_a_class, (1,), "`made` of `Point`"),
        (calls_a_method_that_changes, (1,), "`self.x`"),
        (calls_a_class_method, (1,), "`cls.made`"),
        (calls_a_static_method, (1,), "`results.append()`"),
        (sets_an_attribute_of_a_function, (1,), "`calls` of `appends`"),
        (sets_a_slice, ([1],), "sets "),
        (in_a_comprehension, ((1,),), "`results.append()`"),
        (in_a_lambda, ((1,),), "`results.append()`"),
        (in_an_inner_function, ((1,),), "sets an item of `cache`"),
        (in_a_handler, (0,), "`results.append()`"),
        (in_a_with_statement, ("x",), "sets an item of `cache`"),
        (draws_a_random_number, (), "draws random numbers"),
        (shuffles, ((1, 2),), "draws random numbers"),
        (draws_of_a_generator, (), "draws random numbers"),
        (takes_from_an_iterator, (), "numbers`"),
        (asks_for_its_process, (), "`os.getpid`"),
        (asks_for_its_thread, (), "`threading.current_thread`"),
        (reads_what_its_thread_has, (), "`per_thread`"),
        (reads_what_others_bind, (), "`counter`, which `binds_a_global` binds"),
        (reads_what_others_change, (), "`results`, which `"),
        (warns, (1,), "`warnings.warn`"),
        (as_a_callback, ((1,),), "append"),
        (recurses, (3,), "sets an item of `cache`"),
        (cached, (3,), "`results.append()`"),
        (decorated(appends), (3,), "`results.append()`"),
        (lambda x: results.append(x), (1,), "`results.append()`"),
        (functools.partial(append_to, results), (1,), "`target.append()`"),
        (functools.partial(append_to, target=results), (1,), "`target.append()`"),
        (origin.move, (1,), "changes `self.x` by `+=`"),
        (results.append, (1,), "append"),
        (random.random, (), "draws random numbers"),
        (os.getpid, (), "where it runs"),
        (os.chdir, ("/",), "which the process shares"),
        (asks_for_a_setting, (), "`gc.isenabled`"),
        (sys.getswitchinterval, (), "where it runs"),
        (heapq.heappush, ([], 1), "on an argument"),
        (apply, (results.append, (1,)), "is given `list.append`"),
        (apply, (appends, (1,)), "`results.append()`"),
        (apply, (origin.move, (1,)), "changes `self.x`"),
    ],
)
def test_kept(fn, args, text):
    assert text in (effect(fn, *args) or "nothing")


def test_a_place_is_named():
    found = Analysis(sets_an_item).always[0]
    assert found.file == __file__
    assert found.line == sets_an_item.__code__.co_firstlineno + 1
    assert str(found) == f"sets an item of `cache` (test_auto_effects.py:{found.line})"
    found = Analysis(calls_one_that_appends).always[0]
    assert found.line == appends.__code__.co_firstlineno + 1


# -- arguments --------------------------------------------------------------


def sorts(rows):
    rows.sort()
    return rows


def marks_each(rows):
    for place, row in enumerate(rows):
        row["place"] = place


def calls_a_method(point):
    return point.move(1).x


def calls_a_harmless_method(point):
    return point.far()


def keeps_a_default(x, *, seen=[]):  # noqa: B006 - that is the point
    seen.append(x)
    return len(seen)


def keeps_the_rest(*rows, **named):
    rows[0].append(1)
    named["a"].append(1)


@pytest.mark.parametrize(
    ("fn", "args", "kept"),
    [
        (sorts, ([2, 1],), True),
        (sorts, ((2, 1),), False),
        (sorts, ("ab",), False),
        (marks_each, ([{}, {}],), True),
        (marks_each, ((),), False),
        (calls_a_method, (Point(1),), True),
        (calls_a_harmless_method, (Point(1),), False),
        (keeps_a_default, (1,), True),
        (keeps_the_rest, ([],), True),
        (keeps_the_rest, ((),), False),
    ],
)
def test_an_argument_counts_where_it_can_be_changed(fn, args, kept):
    assert (effect(fn, *args) is not None) is kept


def test_an_argument_by_its_name():
    assert effect(sorts, rows=[1]) is not None
    assert effect(sorts, rows=(1,)) is None
    assert effect(keeps_the_rest, a=[1]) is not None


# -- what keeps nothing -----------------------------------------------------


def computes(n):
    total, found = 0, []
    for i in range(n):
        total += i * factor
        found.append(total)
    found[0] = 1
    names = {}
    for place, value in enumerate(found):
        names.setdefault(place % 3, []).append(value)
    del names[0]
    return sorted(found, key=lambda x: -x), names


def copies_first(rows):
    rows = [dict(row) for row in rows]
    for row in rows:
        row["a"] = 1
    rows.sort(key=len)
    return rows


def makes_points(n):
    points = [Point(i) for i in range(n)]
    for point in points:
        point.move(1)
    points[0].seen.append(1)
    return sum(point.x for point in points)


def counts_by_a_closure(n):
    count = 0

    def one(x):
        nonlocal count
        count += x

    for i in range(n):
        one(i)
    return count


def appends_to_its_own(n):
    mine = []
    append_to(mine, n)
    return mine


def draws_of_its_own(seed):
    own = random.Random(seed)
    return own.random()


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def parses(text):
    with_defaults = {"a": 1, **json.loads(text)}
    with_defaults["b"] = math.sqrt(2)
    return with_defaults


def matches(value):
    match value:
        case {"kind": kind, **rest}:
            rest["x"] = kind
            return rest
        case [first, *others]:
            others.append(first)
            return others
        case Point(x=x):
            return x
        case _:
            return None


def generates(n):
    for i in range(n):
        seen = yield i
        str(seen)


async def awaits(n):
    mine = []
    async with n as other:
        mine.append(other)
    return [x async for x in n]


def formats(x, y="a"):
    return f"{x!r:>{10}} {y}" + "".join(str(z) for z in x if z not in y) + x[1:2]


def ternary(a, b):
    found = (a or b) if a else [*b, *a]
    (first, *_), second = found, {**b, "a": found}
    assert first is not None, second
    while True:
        try:
            return first[0]
        except (IndexError, KeyError) as error:
            raise ValueError from error
        finally:
            del second


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (computes, (3,)),
        (copies_first, ([{}],)),
        (makes_points, (3,)),
        (counts_by_a_closure, (3,)),
        (appends_to_its_own, (3,)),
        (draws_of_its_own, (3,)),
        (fibonacci, (3,)),
        (parses, ("{}",)),
        (matches, ([1, 2],)),
        (generates, (3,)),
        (formats, ("abc",)),
        (ternary, ((1,), {2: 2})),
        (len, ([1],)),
        (zlib.compress, (b"a",)),
        (json.dumps, ({},)),
        (Point, (1,)),
        (origin.far, ()),
        (apply, (abs, (1,))),
        (apply, (Point, (1,))),
    ],
)
def test_free(fn, args):
    assert effect(fn, *args) is None


def test_every_instruction_is_read():
    """No code of the standard library makes the reader stumble, in its own calls or in others'."""
    import argparse
    import ast
    import asyncio.base_events
    import dataclasses
    import typing

    read = 0
    for module in (
        argparse,
        ast,
        asyncio.base_events,
        dataclasses,
        typing,
        functools,
        json.decoder,
    ):
        for value in vars(module).values():
            found = vars(value).values() if isinstance(value, type) else [value]
            for part in found:
                if isinstance(part, types.FunctionType):
                    # By a copy that counts as the user's.
                    code = part.__code__.replace(co_filename="<user>")
                    copy = types.FunctionType(code, part.__globals__, closure=part.__closure__)
                    analysis = Analysis(copy)
                    unread = [e.text for e in analysis.always if "cannot be read" in e.text]
                    assert not unread, (part, unread)
                    read += 1
    assert read > 300


def test_what_is_read_of_modules():
    assert ("test_auto_effects", "factor") in {
        (module.rpartition(".")[2], path) for module, path in Analysis(computes).reads
    }
    assert {path for _, path in Analysis(fibonacci).reads} == {"fibonacci"}


def test_a_function_that_is_replaced_is_read_again():
    space = {"results": []}
    exec("def inner(x): return x\ndef outer(x): return inner(x)\n", space)
    outer = space["outer"]
    assert effect(outer, 1) is None
    exec("def inner(x): results.append(x)\n", space)
    assert effect(outer, 1) == "calls `results.append()`"


def test_closures_are_told_apart():
    def make(target):
        return lambda x: target.append(x)

    mine = []
    assert effect(make(mine), 1) == "calls `target.append()`"

    def add(n):
        return lambda x: x + n

    assert record_of(add(1))[0] is record_of(add(1))[0]
    assert record_of(add(1))[0] is not record_of(add(2))[0]
    assert record_of(add(1))[0] is not record_of(add(True))[0]


def test_calls_that_are_too_deep():
    space = {"f0": lambda x: x}
    for depth in range(1, 1001):
        exec(f"def f{depth}(x): return f{depth - 1}(x)", space)
    assert "calls more code than is looked through" in effect(space["f1000"], 1)
    assert effect(space["f10"], 1) is None


def sets_in_an_import(x):
    __import__("string").seen = x


def sets_in_a_module_of_that_name(name):
    importlib.import_module(name).seen = 1


def reads_from_a_descriptor(x):
    return os.read(descriptor, x)


def sets_in_a_member(x):
    Colour.RED.seen = x


def sets_in_its_member(colour):
    colour.seen = 1


descriptor = 0


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("fn", "arg", "text"),
    [
        (sets_in_an_import, 1, "sets the attribute `seen` of `string`"),
        (sets_in_a_module_of_that_name, "string", "sets the attribute `seen` of `a module`"),
        (reads_from_a_descriptor, 1, "calls `os.read`, which the process shares"),
        (sets_in_a_member, 1, "sets the attribute `seen` of `Colour.RED`"),
        (sets_in_its_member, Colour.RED, "sets the attribute `seen` of `colour`"),
    ],
)
def test_found_by_name(fn, arg, text):
    assert effect(fn, arg) == text


def test_a_member_may_be_read():
    assert effect(lambda colour: (colour.value, Colour.RED.name, Colour["RED"]), Colour.RED) is None


class Partly:
    def __init__(self):
        self.kept, self.left_out = 1, 2

    def __getstate__(self):
        return {"kept": self.kept}


class Another:
    def __reduce__(self):
        return int, (5,)


class Registered:
    pass


def as_a_number(registered):
    return int, (5,)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Partly, "Partly.__getstate__"),
        (Another, "Another.__reduce__"),
        (Registered, "as_a_number"),
    ],
)
@pytest.mark.parametrize("around", [lambda one: one, lambda one: [one]])
def test_what_says_itself_what_processes_get_stays_in_this(kind, name, around, monkeypatch):
    monkeypatch.setitem(copyreg.dispatch_table, Registered, as_a_number)
    record, _, _ = record_of(names_the_kind)
    found = record.effect_on((around(kind()),), {})
    assert found.keeps == "process"
    assert found.text == f"has `one`, of which `{name}()` says what processes get"


def names_the_kind(one):
    return str(type(one))


asked = []


class Asks(type):
    def __getattr__(cls, name):
        asked.append(name)
        raise AttributeError(name)


class Asked(metaclass=Asks):
    pass


def makes_one_that_asks(x):
    return Asked, x


def test_no_code_of_the_users_is_run():
    # pytest has asked by now.
    asked.clear()
    analysis = Analysis(makes_one_that_asks)
    assert ("test_auto_effects", "Asked") in {
        (module.rpartition(".")[2], path) for module, path in analysis.reads
    }
    analysis.effect_on((Asked,), {})
    analysis.state(makes_one_that_asks)
    assert digest(Asked)
    assert asked == []


class Counting:
    def look(self):
        self.seen = True


def looks_at_all(rows):
    for row in rows:
        row.look()


@pytest.mark.parametrize("place", [0, 100, 5000])
def test_methods_of_what_is_in_an_argument(place):
    rows = [""] * 5001
    assert effect(looks_at_all, [""]) is None
    rows[place] = Counting()
    assert "sets the attribute `seen` of `self`" in (effect(looks_at_all, rows) or "nothing")
