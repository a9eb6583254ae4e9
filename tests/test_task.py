"""`plait.task`: what it makes of a function, and how that travels."""

import asyncio
import copy
import functools
import inspect
import math
import pickle
import subprocess
import sys
import textwrap

import pytest

import plait
from plait._task import Terms, terms_of

LIMIT = 60


@plait.task(timeout=30, retries=1)
def factorial(n):
    """Compute n!."""
    return 1 if n < 2 else n * factorial(n - 1)


@plait.task
async def coroutine():
    return 1


class Scale:
    def __init__(self, factor):
        self.factor = factor

    @plait.task(timeout=20)
    def times(self, x):
        return self.factor * x

    @staticmethod
    @plait.task(timeout=10)
    def half(x):
        return x / 2

    @classmethod
    @plait.task(timeout=10)
    def named(cls, x):
        return cls.__name__, x

    length = plait.task(len)


def test_a_call_is_a_plain_call():
    assert factorial(5) == 120
    assert Scale(3).times(4) == 12
    assert Scale.half(4) == 2
    assert Scale(1).named(2) == ("Scale", 2)
    assert Scale(1).length("abc") == 3


def test_it_looks_like_its_function():
    assert factorial.__name__ == "factorial"
    assert factorial.__module__ == __name__
    assert factorial.__doc__ == "Compute n!."
    assert list(inspect.signature(factorial).parameters) == ["n"]
    assert repr(factorial).startswith("plait.task(<function factorial at ")
    assert repr(factorial).endswith(", timeout=30.0, retries=1)")


def test_a_coroutine_function_stays_one():
    assert asyncio.iscoroutinefunction(coroutine) or inspect.iscoroutinefunction(coroutine)
    assert not inspect.iscoroutinefunction(factorial)
    assert asyncio.run(coroutine()) == 1


def test_its_terms_are_found_behind_what_binds_it():
    terms = terms_of(factorial)
    assert terms == Terms(timeout=30.0, retries=1)
    assert terms_of(functools.partial(factorial, 3)) is terms
    assert terms_of(Scale(1).times) == Terms(timeout=20.0)
    assert terms_of(functools.partial(Scale(1).times, 3)) == Terms(timeout=20.0)
    assert terms_of(len) is None


def test_a_second_decoration_keeps_what_it_does_not_say():
    assert terms_of(plait.task(factorial, retries=4)) == Terms(timeout=30.0, retries=4)
    assert plait.task(factorial).__wrapped__ is factorial.__wrapped__


def test_an_endless_timeout_is_none():
    assert terms_of(plait.task(len, timeout=math.inf)) == Terms()
    assert terms_of(plait.task(len, retry_on=OSError)) == Terms(retry_on=(OSError,))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": -1}, ValueError),
        ({"timeout": math.nan}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"grace": -0.1}, ValueError),
        ({"grace": None}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retries": 1.5}, TypeError),
        ({"retry_on": 3}, TypeError),
        ({"retry_on": (OSError, int)}, TypeError),
        ({"name": 3}, TypeError),
    ],
)
def test_bad_terms_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        plait.task(**options)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="callable"):
        plait.task(3)
    with pytest.raises(TypeError, match="staticmethod"):
        plait.task(staticmethod(len))


def test_it_pickles_by_its_name():
    assert pickle.loads(pickle.dumps(factorial)) is factorial
    assert copy.deepcopy(factorial) is factorial
    assert pickle.loads(pickle.dumps(Scale.times)) is Scale.times


def test_another_one_of_the_same_function_pickles_too():
    other = pickle.loads(pickle.dumps(plait.task(factorial, timeout=5)))
    assert other.__wrapped__ is factorial.__wrapped__
    assert terms_of(other) == Terms(timeout=5.0, retries=1)
    assert terms_of(pickle.loads(pickle.dumps(plait.task(len, timeout=5)))) == Terms(timeout=5.0)


@pytest.fixture(scope="module")
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


def local():
    @plait.task(timeout=30)
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    return fibonacci


@pytest.mark.parametrize(
    ("fn", "args", "value"),
    [
        (factorial, (5,), 120),
        (plait.task(factorial, timeout=20), (5,), 120),
        (factorial.__wrapped__, (4,), 24),
        (functools.partial(factorial, 4), (), 24),
        (Scale(3).times, (4,), 12),
        (Scale.times, (Scale(2), 4), 8),
        (Scale.half, (4,), 2),
        (Scale.named, (4,), ("Scale", 4)),
        (plait.task(len, timeout=9), ("abc",), 3),
        (local(), (10,), 55),
        (lambda: factorial(3), (), 6),
    ],
)
def test_it_runs_in_a_worker(pool, fn, args, value):
    # Twice: what is sent a second time may be cached.
    assert [pool.submit(fn, *args).result(LIMIT) for _ in range(3)] == [value] * 3


def test_it_comes_back_as_itself(pool):
    assert pool.submit(lambda: factorial).result(LIMIT) is factorial


def test_one_of_main_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import plait

            @plait.task(timeout=30)
            def factorial(n):
                return 1 if n < 2 else n * factorial(n - 1)

            class Scale:
                @plait.task
                def times(self, x):
                    return factorial(x), type(self) is Scale

            pool = plait.ProcessPoolExecutor(1)
            print(pool.submit(factorial, 5).result(60), pool.submit(Scale().times, 3).result(60))
            print(pool.submit(plait.task(factorial, retries=1), 4).result(60))
            print(pool.submit(factorial.__wrapped__, 3).result(60))
            print(pool.submit(lambda: factorial).result(60) is factorial)
            pool.shutdown()
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.stdout, done.stderr) == ("120 (6, True)\n24\n6\nTrue\n", "")
