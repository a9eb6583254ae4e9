"""What travels to a worker and back: functions of `__main__`, values, errors."""

import dataclasses
import enum
import errno
import functools
import os
import subprocess
import sys
import textwrap
import threading
import urllib.error
from collections.abc import Iterator
from types import FunctionType
from typing import NamedTuple

import pytest

import plait

LIMIT = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[plait.ProcessPoolExecutor]:
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


# ---- programs whose functions live in `__main__`

PROGRAM = """
import dataclasses, enum, functools, os, xml.dom
import plait

FACTOR = 3
COUNTER = 0
STATE = None

@dataclasses.dataclass
class Point:
    x: int
    def scaled(self):
        return Point(helper(self.x))

class Colour(enum.Enum):
    RED = 1

class Base:
    def who(self):
        return "base"

class Derived(Base):
    def who(self):
        return "derived of " + super().who()
    class Inner:
        pass

def helper(x):
    return FACTOR * x

def main(x):
    return helper(x) + (main(x - 1) if x else 0)

def traced(function):
    @functools.wraps(function)
    def wrapper(*args):
        return "traced", function(*args)
    return wrapper

@traced
def decorated(x):
    return helper(x)

@functools.lru_cache(maxsize=None)
def cached(x):
    return helper(x)

def count():
    global COUNTER
    COUNTER += 1
    return COUNTER

def set_state(value):
    global STATE
    STATE = value

def get_state():
    return STATE

def take(point, function):
    assert type(point) is Point
    return function(point.x)

def submodule():
    return xml.dom.minidom.__name__

def fail():
    raise Unusual("text", 3)

class Unusual(Exception):
    def __init__(self, text, number):
        super().__init__(text, number)
        self.number = number

import xml.dom.minidom

pool = plait.ProcessPoolExecutor(1, initializer=set_state, initargs=("set",))
call = lambda fn, *args: pool.submit(fn, *args).result()
print(call(main, 3))
point = call(Point(2).scaled)
print(type(point) is Point, point == Point(6))
print(call(take, Point(5), helper), call(take, Point(5), lambda x: x + FACTOR))
print(call(decorated, 2), call(cached, 2))
print(call(Derived().who), type(call(Derived.Inner)) is Derived.Inner)
print(call(lambda: Colour.RED) is Colour.RED, call(lambda: helper) is helper)
print(call(count), call(count), call(count), COUNTER)
print(call(get_state))
print(call(submodule))
try:
    call(fail)
except Unusual as error:
    print(error.number, "in fail" in error.__notes__[-1])
FACTOR = 10
print(call(main, 3))
helper = lambda x: -x
print(call(main, 3))
pool.shutdown()
print("end")
"""

EXPECTED = """\
18
True True
15 8
('traced', 6) 6
derived of base True
True True
1 2 3 0
set
xml.dom.minidom
3 True
60
-6
end
"""


def run(*arguments, text=None, cwd=None):
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_script(tmp_path):
    (tmp_path / "script.py").write_text(PROGRAM)
    assert run("script.py", cwd=tmp_path) == (EXPECTED, "")


def test_an_argument_of_the_command_line():
    assert run("-c", PROGRAM) == (EXPECTED, "")


def test_standard_input():
    assert run("-", text=PROGRAM) == (EXPECTED, "")


def test_a_module_that_is_run(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "sibling.py").write_text("NAME = 'sibling'")
    relative = "\ndef sibling():\n    from .sibling import NAME\n    return NAME\n"
    script = PROGRAM.replace("pool.shutdown()", "print(call(sibling))\npool.shutdown()")
    (tmp_path / "package" / "module.py").write_text(
        script.replace("\npool = ", relative + "\npool = ", 1)
    )
    expected = EXPECTED.replace("end\n", "sibling\nend\n")
    assert run("-m", "package.module", cwd=tmp_path) == (expected, "")


PROMPT = """\
import plait
pool = plait.ProcessPoolExecutor(1)
def helper(x):
    return x + 1

def f(x):
    return helper(x)

print("first", pool.submit(f, 1).result())
def helper(x):
    return x + 100

print("second", pool.submit(f, 1).result())
class C:
    pass

print("class", type(pool.submit(C).result()) is C)
print("lambda", pool.submit(lambda: f(2)).result())
pool.shutdown()
"""


def test_the_prompt():
    out, _ = run("-i", "-q", text=PROMPT)
    lines = [line.replace(">>> ", "").replace("... ", "") for line in out.splitlines()]
    assert [line for line in lines if line] == ["first 2", "second 101", "class True", "lambda 102"]


CELLS = """
import sys, types
notebook = types.ModuleType("__main__")
sys.modules["__main__"] = notebook
for cell in (
    "import plait; pool = plait.ProcessPoolExecutor(1)",
    "def helper(x): return x + 1",
    "def f(x): return helper(x)",
    "class C:\\n    def __eq__(self, other): return type(other) is C",
    "print(pool.submit(f, 1).result())",
    "def helper(x): return x + 100",
    "print(pool.submit(f, 1).result())",
    "print(pool.submit(lambda c: c, C()).result() == C())",
    "class C:\\n    new = True",
    "print(type(pool.submit(C).result()) is C, pool.submit(lambda: C.new).result())",
    "pool.shutdown()",
):
    exec(compile(cell, "<cell>", "exec"), notebook.__dict__)
"""


def test_a_notebook():
    assert run("-c", CELLS) == ("2\n101\nTrue\nTrue True\n", "")


def test_ipython():
    script = """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        for cell in (
            "import plait; pool = plait.ProcessPoolExecutor(1)",
            "def helper(x): return x + 1",
            "def f(x): return helper(x)",
            "print(pool.submit(f, 1).result())",
            "def helper(x): return x + 100",
            "print(pool.submit(f, 1).result())",
            "pool.shutdown()",
        ):
            shell.run_cell(cell).raise_error()
    """
    out, _ = run("-c", textwrap.dedent(script))
    assert out.splitlines()[-2:] == ["2", "101"]


# ---- functions by value


def test_closures_share_their_cells(pool):
    def make():
        count = 0

        def up():
            nonlocal count
            count += 1

        def get():
            return count

        return up, get

    def use(up, get):
        up()
        up()
        return get()

    assert pool.submit(use, *make()).result(LIMIT) == 2


def test_a_closure_that_refers_to_itself(pool):
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert pool.submit(factorial, 10).result(LIMIT) == 3628800


def test_what_a_closure_holds_is_sent_as_it_is_at_each_submit(pool):
    held = []

    def size():
        return len(held)

    sizes = []
    for _ in range(4):
        held.append(None)
        sizes.append(pool.submit(size).result(LIMIT))
    assert sizes == [1, 2, 3, 4]


def test_a_rebound_variable_of_a_closure_is_sent_again(pool):
    def make():
        value = 0

        def get():
            return value

        def set_value(new):
            nonlocal value
            value = new

        return get, set_value

    get, set_value = make()
    seen = []
    for n in range(4):
        set_value(n)
        seen += [pool.submit(get).result(LIMIT), pool.submit(get).result(LIMIT)]
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]


def test_defaults_annotations_and_attributes(pool):
    def function(a, b=2, *, c=3) -> int:
        """Documented."""
        return a + b + c

    function.attribute = "kept"
    back = pool.submit(lambda f: f, function).result(LIMIT)
    assert back is not function
    assert back(1) == 6
    assert (back.__doc__, back.attribute) == ("Documented.", "kept")
    assert back.__annotations__ == {"return": int}
    assert back.__qualname__ == function.__qualname__
    assert back.__module__ == __name__


def test_local_classes(pool):
    class Local:
        limit = 3

        def size(self):
            return type(self).limit, __class__ is type(self)

    assert pool.submit(lambda: Local().size()).result(LIMIT) == (3, True)
    assert pool.submit(Local().size).result(LIMIT) == (3, True)


def test_local_classes_with_slots(pool):
    class Plain:
        __slots__ = ("__private", "value")

        def __init__(self):
            self.value, self.__private = 1, 2

        def look(self):
            return self.value, self.__private, hasattr(self, "__dict__")

    @dataclasses.dataclass(slots=True)
    class Data:
        value: int

    assert pool.submit(lambda x: x.look(), Plain()).result(LIMIT) == (1, 2, False)
    assert pool.submit(lambda: hasattr(Data(1), "__dict__")).result(LIMIT) is False


class Tree(NamedTuple):
    left: "Tree | None"
    right: "Tree | None"

    def depth(self):
        return 1 + max(branch.depth() if branch else 0 for branch in self)


class Flag(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(slots=True)
class Slotted:
    value: object


def test_values_keep_their_classes(pool):
    tree = Tree(Tree(None, None), None)
    back = pool.submit(lambda x: x, [tree, Flag.A | Flag.B, Slotted(tree)]).result(LIMIT)
    assert back == [tree, Flag.A | Flag.B, Slotted(tree)]
    assert [type(value) for value in back] == [Tree, Flag, Slotted]
    assert pool.submit(Tree.depth, tree).result(LIMIT) == 2


@functools.lru_cache(maxsize=7)
def remembered(x):
    return x + 1


def test_a_cached_function(pool):
    assert pool.submit(remembered, 1).result(LIMIT) == 2
    assert pool.submit(lambda: remembered.cache_parameters()["maxsize"]).result(LIMIT) == 7


def test_modules_travel_by_name(pool):
    assert pool.submit(lambda module: module.getpid(), os).result(LIMIT) != os.getpid()


def test_one_shot_lambdas_leave_no_trace():
    with plait.ProcessPoolExecutor(1) as pool:
        for n in range(600):
            function = lambda n=n: n  # noqa: E731
            assert pool.submit(function).result(LIMIT) == n
            assert pool.submit(function).result(LIMIT) == n
        del function
        assert len(pool._outbound._functions) <= 1

        def known():
            import gc

            from plait._pickling.inbound import Inbound

            (inbound,) = (found for found in gc.get_objects() if type(found) is Inbound)
            return len(inbound._functions)

        assert pool.submit(known).result(LIMIT) <= 300


def test_a_function_is_pickled_once(pool):
    pickled = []

    class Watched:
        def __reduce__(self):
            pickled.append(1)
            return int, ()

    def named(value):
        return value

    held = (1, 2)

    def by_value():
        return held

    for _ in range(3):
        assert pool.submit(named, Watched()).result(LIMIT) == 0
        assert pool.submit(by_value).result(LIMIT) == (1, 2)
    assert len(pickled) == 3
    calls = [pool._outbound.encode(by_value, (), {}) for _ in range(2)]
    assert len({(call.images, call.target, call.packer.getvalue()) for call in calls}) == 1
    assert calls[0].target != 0


# ---- what cannot be pickled


def identity(value):
    return value


def test_a_global_that_cannot_be_pickled_is_named():
    script = """
        import plait

        numbers = (n for n in range(3))

        def inner():
            return next(numbers)

        def outer():
            return inner()

        with plait.ProcessPoolExecutor(1) as pool:
            future = pool.submit(outer)
            print(type(future.exception()).__name__, *future.exception().__notes__)
            print(pool.submit(lambda: 2).result())
    """
    out, _ = run("-c", textwrap.dedent(script))
    first, second = out.splitlines()
    assert first == (
        "TypeError while pickling the global 'numbers' of __main__, which the function outer uses"
    )
    assert second == "2"


def test_an_argument_that_cannot_be_pickled_is_named(pool):
    error = pool.submit(identity, threading.Lock()).exception(LIMIT)
    assert type(error) is TypeError
    assert "argument 1 of" in error.__notes__[-1]
    assert "identity" in error.__notes__[-1]
    error = pool.submit(identity, value=(1, threading.Lock())).exception(LIMIT)
    assert "argument 'value'" in error.__notes__[-1]


def test_a_function_that_cannot_be_pickled_is_named(pool):
    lock = threading.Lock()

    def guarded():
        return lock

    error = pool.submit(guarded).exception(LIMIT)
    assert type(error) is TypeError
    assert "guarded" in error.__notes__[-1]


def test_a_result_that_cannot_be_pickled_is_named(pool):
    def lock():
        return threading.Lock()

    error = pool.submit(lock).exception(LIMIT)
    assert type(error) is TypeError
    notes = "\n".join(error.__notes__)
    assert "an object of type lock" in notes
    assert "test_a_result_that_cannot_be_pickled_is_named.<locals>.lock" in notes


class Raises:
    def __reduce__(self):
        raise ZeroDivisionError("in __reduce__")


class RaisesThere:
    def __reduce__(self):
        return divide, (1, 0)


def divide(a, b):
    return a / b


def test_errors_of_reducing_and_rebuilding_keep_their_class(pool):
    assert type(pool.submit(identity, Raises()).exception(LIMIT)) is ZeroDivisionError
    error = pool.submit(identity, RaisesThere()).exception(LIMIT)
    assert type(error) is ZeroDivisionError
    assert "while loading" in error.__notes__[0]
    error = pool.submit(RaisesThere).exception(LIMIT)
    assert type(error) is ZeroDivisionError
    assert "while unpickling the result" in error.__notes__[0]


def test_too_deep_is_a_recursion_error(pool):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert type(pool.submit(identity, nested).exception(LIMIT)) is RecursionError
    # Taken apart by hand: the deallocation of such a list is deep too.
    while nested:
        nested = nested.pop()


def test_a_failure_in_submit_affects_nothing_else(pool):
    good = [pool.submit(identity, n) for n in range(5)]
    bad = [pool.submit(identity, threading.Lock()) for _ in range(5)]
    good += [pool.submit(identity, n) for n in range(5)]
    assert [future.result(LIMIT) for future in good] == [*range(5), *range(5)]
    assert all(future.exception(0) for future in bad)


# ---- exceptions


class Demanding(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first = first


class Locked(Exception):
    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")


class WithSlots(Exception):
    __slots__ = ("code",)

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class Failing(OSError):
    def __init__(self, path):
        super().__init__(errno.EEXIST, "in the way", path)


class Leaving(Exception):
    def __reduce__(self):
        return sys.exit, (3,)


class Interrupting(Exception):
    def __reduce__(self):
        raise KeyboardInterrupt


class Unset(Exception):
    def __setstate__(self, state):
        raise TypeError("no state")


class Computed(Exception):
    @property
    def __cause__(self):
        raise RuntimeError("no cause")


def throw(make, *args):
    raise make(*args)


@pytest.mark.parametrize(
    ("make", "args", "text"),
    [
        (Demanding, ("a", "b"), "a and b"),
        (Locked, (), "locked"),
        (Mute, (), None),
        (WithSlots, (5, "why"), "why"),
        (Failing, ("/there",), "[Errno 17] in the way: '/there'"),
        (Leaving, ("x",), "x"),
        (Interrupting, ("x",), "x"),
        (Unset, ("x",), "x"),
        (Computed, ("x",), "x"),
        (urllib.error.HTTPError, ("u", 404, "gone", {}, None), "HTTP Error 404: gone"),
    ],
)
def test_an_exception_that_pickle_fails_with_has_a_stand_in_of_its_class(pool, make, args, text):
    error = pool.submit(throw, make, *args).exception(LIMIT)
    assert type(error) is make
    assert text is None or str(error) == text
    assert "in throw" in error.__notes__[-1]
    assert make.__name__ in error.__notes__[-1]
    if make is Demanding:
        assert error.first == "a"
    if make is WithSlots:
        assert error.code == 5
    if make is Failing:
        assert (error.errno, error.filename) == (errno.EEXIST, "/there")
    if make is urllib.error.HTTPError:
        assert error.code == 404
    if make is Locked:
        assert "_thread.lock object" in repr(error.lock)
    assert pool.submit(abs, -1).result(LIMIT) == 1


def test_what_an_exception_holds_and_cannot_be_pickled_is_described(pool):
    def hold():
        raise ValueError("bad", threading.Lock())

    error = pool.submit(hold).exception(LIMIT)
    assert type(error) is ValueError
    assert error.args[0] == "bad"
    assert str(error).startswith("('bad', <unlocked _thread.lock object")


def test_an_exception_that_cannot_be_made_again_is_described(pool):
    class Shifting(Exception):
        asked = 0

        def __str__(self):
            type(self).asked += 1
            return f"text {self.asked}"

    error = pool.submit(throw, Shifting, 1).exception(LIMIT)
    assert type(error) is plait.RemoteError
    assert "Shifting" in error.class_name
    assert str(error) == f"{error.class_name}: {error.text}"
    assert "in throw" in error.traceback
    assert isinstance(error, RuntimeError)


def test_the_whole_chain_comes_along(pool):
    def chained():
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise Demanding("x", "y") from OSError(2, "missing")
        except Demanding as error:
            error.add_note("a note")
            raise LookupError("last") from None

    error = pool.submit(chained).exception(LIMIT)
    assert type(error) is LookupError
    assert error.__suppress_context__
    middle = error.__context__
    assert type(middle) is Demanding
    assert middle.__notes__ == ["a note"]
    assert type(middle.__cause__) is FileNotFoundError
    assert middle.__cause__.errno == 2
    assert type(middle.__context__) is KeyError


def test_a_long_chain(pool):
    def deep():
        error = None
        for n in range(3000):
            error, cause = ValueError(n), error
            error.__cause__ = cause
        raise error

    # Linear: with the whole chain formatted for each link, it would take minutes.
    error = pool.submit(deep).exception(LIMIT)
    for n in reversed(range(3000)):
        assert error.args == (n,)
        error = error.__cause__


def test_notes_that_are_no_list(pool):
    def noted():
        error = ValueError("x")
        error.__notes__ = "text"
        raise error

    error = pool.submit(noted).exception(LIMIT)
    assert type(error) is ValueError
    assert len(error.__notes__) == 1
    assert "in noted" in error.__notes__[0]


def test_a_cycle_of_contexts_is_no_trouble(pool):
    def circle():
        first, second = KeyError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    error = pool.submit(circle).exception(LIMIT)
    assert type(error) is KeyError
    assert error.__cause__.__cause__ is error


def test_a_group_of_exceptions(pool):
    def group():
        raise ExceptionGroup("several", [ValueError(1), TypeError(2)])

    error = pool.submit(group).exception(LIMIT)
    assert [type(inner) for inner in error.exceptions] == [ValueError, TypeError]


def test_the_members_of_a_group_keep_what_they_have(pool):
    class Several(ExceptionGroup):
        pass

    def member():
        try:
            raise Demanding("x", "y") from OSError(2, "missing")
        except Demanding as error:
            error.add_note("a note")
            return error

    def group():
        inner = ExceptionGroup("inner", [Locked(), KeyError(1)])
        error = Several("outer", [member(), inner])
        error.extra = 3
        raise error

    error = pool.submit(group).exception(LIMIT)
    assert isinstance(error, ExceptionGroup)
    assert type(error).__name__ == "Several"
    assert (error.message, error.extra) == ("outer", 3)
    first, inner = error.exceptions
    assert type(first) is Demanding
    assert first.__notes__ == ["a note"]
    assert type(first.__cause__) is FileNotFoundError
    assert [type(each) for each in inner.exceptions] == [Locked, KeyError]
    assert error.subgroup(Demanding).exceptions == (first,)


def test_a_member_of_a_group_that_the_group_led_to(pool):
    def circle():
        error = ValueError("member")
        error.__cause__ = ExceptionGroup("several", [error])
        raise error

    error = pool.submit(circle).exception(LIMIT)
    assert error.__cause__.exceptions == (error,)


def test_nested_pools(pool):
    def nested(n):
        with plait.ProcessPoolExecutor(1) as inner:
            return inner.submit(lambda: identity(n + 1)).result()

    assert pool.submit(nested, 1).result(LIMIT) == 2


def test_what_a_tool_has_put_among_the_globals_of_a_module(pool, monkeypatch):
    # As pytest does, which rewrites assertions; a process imports the module without it.
    def size(text):
        return measured(text)  # noqa: F821

    code = size.__code__.replace(co_names=("@measured",))
    monkeypatch.setitem(vars(textwrap), "@measured", len)
    assert pool.submit(FunctionType(code, vars(textwrap)), "abc").result(LIMIT) == 3
