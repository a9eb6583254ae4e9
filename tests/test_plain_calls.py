"""Calls that take the short way (known function, plain arguments) are as all others."""

import ctypes
import gc
import inspect
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref

import pytest

import plait

LIMIT = 60


@pytest.fixture(scope="module")
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


def all_the_same(first, *others):
    return all(other is first for other in others)


class Parcel:
    """Not plain."""

    def __init__(self, content):
        self.content = content

    def __eq__(self, other):
        return type(other) is Parcel and other.content == self.content

    __hash__ = None


class Unsendable:
    def __reduce__(self):
        raise TypeError("stays here")


def give(*args, **kwargs):
    return args, kwargs


def fail(text):
    raise ValueError(text)


def make_parcel(content):
    return Parcel(content)


def make_unsendable(_):
    return Unsendable()


def fork_and_return(_):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return "parent"
    return "child"


ticks = 0


def start_ticking(_):
    def tick():
        global ticks
        while True:
            ticks += 1

    threading.Thread(target=tick, daemon=True).start()


def ticks_so_far():
    return ticks


def test_each_call_again_and_again(pool):
    for _ in range(3):
        assert pool.submit(give).result(LIMIT) == ((), {})
        assert pool.submit(give, 1, "two", [3.0], four=(4,)).result(LIMIT) == (
            (1, "two", [3.0]),
            {"four": (4,)},
        )
        # These need the pickler, in either direction.
        assert pool.submit(give, Parcel(1)).result(LIMIT) == ((Parcel(1),), {})
        assert pool.submit(make_parcel, "x").result(LIMIT) == Parcel("x")
        assert pool.submit(give, 2**70, {1, 2}).result(LIMIT) == ((2**70, {1, 2}), {})
        assert pool.submit(len, "four").result(LIMIT) == 4
        assert pool.submit(dict, [("a", 1)]).result(LIMIT) == {"a": 1}


def test_arguments_and_results_are_copies(pool):
    shared = [1]
    (first, second), _ = pool.submit(give, shared, (shared,)).result(LIMIT)
    assert first == [1]
    assert first is second[0]
    assert first is not shared


def test_an_argument_that_is_borrowed_twice_is_one(pool):
    # As Python 3.14 passes variables: with no references but theirs.
    call = ctypes.pythonapi.PyObject_Vectorcall
    call.argtypes = (
        ctypes.py_object,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_size_t,
        ctypes.c_void_p,
    )
    call.restype = ctypes.py_object
    for count in (2, 12):
        value = [1, 2]
        arguments = [id(all_the_same), *[id(value)] * count]
        before = sys.getrefcount(value)
        future = call(
            pool.submit, (ctypes.c_void_p * len(arguments))(*arguments), len(arguments), None
        )
        assert future.result(LIMIT) is True
        assert before <= 2


def test_the_traceback_is_the_tasks_alone(pool):
    for _ in range(2):
        with pytest.raises(ValueError, match="boom") as caught:
            pool.submit(fail, "boom").result(LIMIT)
        (note,) = caught.value.__notes__
        assert "in fail" in note
        assert f"{os.sep}plait{os.sep}" not in note
        with pytest.raises(ZeroDivisionError) as error:
            pool.submit(divmod, 1, 0).result(LIMIT)
        assert f"{os.sep}plait{os.sep}" not in error.value.__notes__[0]
        assert "fail" not in "".join(traceback.format_tb(error.value.__traceback__))


def test_a_result_that_cannot_be_pickled(pool):
    for _ in range(2):
        with pytest.raises(TypeError, match="stays here") as caught:
            pool.submit(make_unsendable, 1).result(LIMIT)
        assert any("while pickling the result" in note for note in caught.value.__notes__)


def test_a_child_that_a_task_forks_answers_nothing(pool):
    for _ in range(3):
        assert pool.submit(fork_and_return, 1).result(LIMIT) == "parent"
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_threads_of_a_worker_run_between_tasks_in_c():
    with plait.ProcessPoolExecutor(1) as pool:
        pool.submit(start_ticking, 1).result(LIMIT)
        before = pool.submit(ticks_so_far).result(LIMIT)
        deadline = time.monotonic() + LIMIT
        while pool.submit(ticks_so_far).result(LIMIT) <= before + 1000:
            assert time.monotonic() < deadline
            for future in [pool.submit(abs, -number) for number in range(200)]:
                future.result(LIMIT)


def test_submit_is_as_the_standard_one():
    standard = inspect.signature(plait.ThreadPoolExecutor.submit)
    parameters = list(inspect.signature(plait.ProcessPoolExecutor.submit).parameters.values())
    assert [(each.name, each.kind) for each in parameters] == [
        (each.name, each.kind) for each in standard.parameters.values()
    ]
    assert "Raises:" in plait.ProcessPoolExecutor.submit.__doc__
    with plait.ProcessPoolExecutor(1) as pool:
        for wrong in (lambda: pool.submit(), lambda: pool.submit(fn=abs)):
            with pytest.raises(TypeError, match="fn"):
                wrong()
        assert plait.ProcessPoolExecutor.submit(pool, abs, -1).result(LIMIT) == 1
    for _ in range(2):
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(abs, -1)
    with pytest.raises(TypeError):
        plait.ProcessPoolExecutor.submit(1, abs)


def test_a_subclass_can_have_its_own_submit():
    class Counting(plait.ProcessPoolExecutor):
        def __init__(self, *args):
            super().__init__(*args)
            self.calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(1) as pool:
        assert [pool.submit(give, n, k=n).result(LIMIT) for n in range(3)] == [
            ((n,), {"k": n}) for n in range(3)
        ]
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        assert pool.calls == 5


def test_nothing_keeps_a_pool_or_its_futures():
    pool = plait.ProcessPoolExecutor(1)
    pool.me = pool
    future = pool.submit(abs, -1)
    assert future.result(LIMIT) == 1
    again = pool.submit(abs, -1)
    references = [weakref.ref(pool), weakref.ref(future), weakref.ref(again)]
    again.result(LIMIT)
    pool.shutdown()
    del pool, future, again
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


PROGRAM = """
import sys, types
import plait

FACTOR = 2
NOTHING = None

def helper(x):
    return FACTOR * x

def f(x):
    return helper(x), NOTHING

class Point:
    x = 1

def where(_):
    return Point.x

call = lambda fn, *args: [pool.submit(fn, *args).result() for _ in range(3)][-1]
pool = plait.ProcessPoolExecutor(1)
print(call(f, 1))
FACTOR = 3
print(call(f, 1))
NOTHING = 0
print(call(f, 1))
NOTHING = None
print(call(f, 1))

def helper(x):
    return -x

print(call(f, 1))
len = lambda x: "shadowed"
def count(x):
    return len(x)
print(call(count, "abc"))

def f(x):
    return "new f"
print(call(f, 1))
print(call(where, 1))
class Point:
    x = 2
print(call(where, 1))

# The same name, in a module that takes the place of another.
for value in (1, 2):
    made = types.ModuleType("made_by_hand")
    exec("def g(x): return x + VALUE", made.__dict__)
    made.VALUE = value
    sys.modules["made_by_hand"] = made
    print(call(made.g, 10))

# A function that nobody has any more leaves room for another at its address.
for n in range(50):
    exec(f"def once(x): return x + {n}")
    assert pool.submit(once, 1).result() == n + 1
    assert pool.submit(once, 2).result() == n + 2
pool.shutdown()
print("end")
"""

EXPECTED = """\
(2, None)
(3, None)
(3, 0)
(3, None)
(-1, None)
shadowed
new f
1
2
11
12
end
"""


def test_a_rebound_global_is_told_again(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout == EXPECTED
