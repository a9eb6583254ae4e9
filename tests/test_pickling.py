"""What travels to a worker. Each test is a script of its own, for it is about
`__main__`; the worker at the other end of two pipes is the real `Inbound`."""

import subprocess
import sys
import textwrap

import pytest

HARNESS = """
import pickle as _pickle, subprocess as _subprocess, sys as _sys
from plait._pickling import Outbound as _Outbound, decode_result as _decode

_WORKER = '''
import pickle, sys
from plait._pickling import Inbound
inbound = Inbound()
out, sys.stdout = sys.stdout.buffer, sys.stderr
while True:
    try:
        method, args = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    answer = getattr(inbound, method)(*args)
    if method == "run":
        pickle.dump(answer, out)
        out.flush()
'''

class Worker:
    def __init__(self, out=None):
        self.out = out or _Outbound()
        self.sent = []
        self.process = _subprocess.Popen(
            [_sys.executable, "-c", _WORKER], stdin=_subprocess.PIPE, stdout=_subprocess.PIPE)

    def __call__(self, fn, *args, **kwargs):
        call = self.out.encode_call(fn, args, kwargs)
        pipe = self.process.stdin
        for image in call.images:
            if image.id not in self.sent:
                self.sent.append(image.id)
                _pickle.dump(("add_image", (image.id, image.data)), pipe)
        _pickle.dump(("run", (call.target, call.data)), pipe)
        pipe.flush()
        return _decode(*_pickle.load(self.process.stdout))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

worker = Worker()
"""


def script(code, *options, stdin=None):
    """Run `code` as `__main__`, with a `worker` at hand."""
    code = HARNESS + textwrap.dedent(code) + "\nworker.close()\n"
    arguments = ["-c", code] if stdin is None else ["-"]
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, *arguments],
        input=stdin and code,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_functions_of_main_and_what_they_use():
    script(
        """
        import math
        from functools import partial

        FACTOR = 3

        def helper(x):
            return math.floor(x) * FACTOR

        def f(x, extra=1):
            return helper(x) + extra

        assert worker(f, 2.5) == 7
        assert worker(f, 2.5, extra=0) == 6
        assert worker(partial(f, extra=5), 1) == 8
        assert worker(abs, -2) == 2
        assert worker(str.upper, "a") == "A"
        assert worker("x".join, ["a", "b"]) == "axb"
        """
    )


def test_an_image_travels_once():
    script(
        """
        def g(x):
            return x

        def f(x):
            return g(x)

        worker(f, 1)
        sent = list(worker.sent)
        for n in range(5):
            assert worker(f, n) == n
            assert worker(g, n) == n
        # g as a target of its own is one more; nothing else
        assert len(worker.sent) == len(sent) + 1
        """
    )


def test_what_an_initializer_sets_the_tasks_see():
    script(
        """
        connection = None
        cache = {}

        def init(name):
            global connection
            connection = name
            cache["filled"] = True

        def task():
            return connection, cache

        def other():
            return connection

        worker(init, "db")
        assert worker(task) == ("db", {"filled": True})
        assert worker(other) == "db"
        assert worker(lambda: (connection, cache)) == ("db", {"filled": True})
        assert (connection, cache) == (None, {})
        """
    )


def test_names_bound_anew_replace_the_old():
    """A cell of a notebook that is run again."""
    script(
        """
        def helper():
            return "old"

        def f():
            return helper(), N

        N = 1
        assert worker(f) == ("old", 1)

        def helper():
            return "new"

        assert worker(f) == ("new", 1)
        N = 2
        assert worker(f) == ("new", 2)
        N = 1
        assert worker(f) == ("new", 1)

        def f():
            return "another"

        assert worker(f) == "another"
        """
    )


def test_a_name_that_comes_later():
    script(
        """
        def f():
            return late()

        try:
            worker(f)
        except NameError as error:
            assert "late" in str(error)
        else:
            raise AssertionError

        def late():
            return 1

        assert worker(f) == 1
        """
    )


def test_recursion_both_ways():
    script(
        """
        def even(n):
            return True if n == 0 else odd(n - 1)

        def odd(n):
            return False if n == 0 else even(n - 1)

        assert worker(even, 10) is True
        fact = lambda n: 1 if n == 0 else n * fact(n - 1)
        assert worker(fact, 5) == 120

        def outer():
            def inner(n):
                return 0 if n == 0 else 1 + inner(n - 1)
            return inner

        assert worker(outer(), 7) == 7
        """
    )


def test_lambdas_closures_and_their_state():
    script(
        """
        assert worker(lambda x: x + 1, 1) == 2

        def make(n):
            return lambda x: x + n

        assert worker(make(10), 1) == 11
        assert worker(make(20), 1) == 21

        def counting():
            seen = []
            def f():
                return len(seen)
            return seen, f

        seen, f = counting()
        assert worker(f) == 0
        seen.append(1)
        assert worker(f) == 1

        def rebinding():
            value = 1
            def set(v):
                nonlocal value
                value = v
            return set, lambda: value

        set, get = rebinding()
        assert worker(get) == 1
        set(2)
        assert worker(get) == 2
        """
    )


def test_callables_with_state_are_sent_as_they_are_now():
    script(
        """
        class Counter:
            def __init__(self):
                self.n = 0
            def __call__(self):
                return self.n
            def get(self):
                return self.n

        counter = Counter()
        assert worker(counter) == 0
        assert worker(counter.get) == 0
        counter.n = 5
        assert worker(counter) == 5
        assert worker(counter.get) == 5
        """
    )


def test_classes_keep_their_identity():
    script(
        """
        import dataclasses, enum, typing

        class Base:
            registry = {}
            def __init_subclass__(cls):
                Base.registry[cls.__name__] = cls
            def name(self):
                return "base"

        @dataclasses.dataclass
        class Point(Base):
            x: int
            y: int = 0
            def name(self):
                return "point " + super().name()
            @property
            def both(self):
                return self.x, self.y
            class Inner:
                pass

        class Color(enum.Enum):
            RED = 1
            GREEN = 2

        class Pair(typing.NamedTuple):
            a: int
            b: Point

        def move(point):
            assert isinstance(point, Point)
            return Point(point.x + 1, point.y)

        def registry():
            return Base.registry

        moved = worker(move, Point(1))
        assert type(moved) is Point and moved == Point(2)
        assert worker(Point.name, Point(1)) == "point base"
        assert worker(Point(3).name) == "point base"
        assert worker(lambda p: p.both, Point(3, 4)) == (3, 4)
        assert worker(lambda: Color.RED) is Color.RED
        assert worker(lambda c: c is Color.GREEN, Color.GREEN)
        assert worker(Pair, 1, Point(2)) == Pair(1, Point(2))
        assert worker(registry)["Point"] is Point
        assert type(worker(Point.Inner)) is Point.Inner
        assert worker(lambda p: isinstance(p, Base), Point(1))
        local = worker(lambda: [type(p).__name__ for p in (Point(1), Color.RED)])
        assert local == ["Point", "Color"]
        """
    )


def test_local_classes_come_back_as_themselves():
    script(
        """
        def make():
            class Local:
                def __init__(self, x):
                    self.x = x
            return Local

        Local = make()
        del make
        back = worker(lambda thing: thing, Local(3))
        assert type(back) is Local and back.x == 3
        """
    )


def test_decorated_functions():
    script(
        """
        import functools

        def twice(f):
            @functools.wraps(f)
            def wrapper(*args):
                return f(*args), f(*args)
            return wrapper

        @twice
        def f(x):
            return x

        raw = f.__wrapped__
        assert worker(f, 1) == (1, 1)
        assert worker(raw, 1) == 1
        """
    )


def test_functions_of_modules_with_their_own_globals(tmp_path):
    (tmp_path / "helpers.py").write_text(
        textwrap.dedent(
            """
            import threading
            LOCK = threading.Lock()
            STATE = []

            def make(n):
                def inner(x):
                    with LOCK:
                        STATE.append(n)
                        return x + n, len(STATE)
                return inner

            def size():
                return len(STATE)
            """
        )
    )
    script(
        f"""
        import os, sys
        sys.path.insert(0, {str(tmp_path)!r})
        os.environ["PYTHONPATH"] = {str(tmp_path)!r}
        worker.close()
        worker = Worker()
        import helpers
        assert worker(helpers.make(3), 1) == (4, 1)
        assert worker(helpers.make(4), 1) == (5, 2)
        assert worker(helpers.size) == 2
        """
    )


def test_from_standard_input():
    script(
        "def f(x):\n    return x + g()\ndef g():\n    return 1\nassert worker(f, 1) == 2",
        stdin=True,
    )


def test_a_notebook():
    """Cells are compiled one by one and run in the dictionary of `__main__`."""
    script(
        """
        cells = [
            "import math\\nN = 2",
            "def f(x):\\n    return math.sqrt(x) * N",
            "assert worker(f, 9) == 6.0",
            "def f(x):\\n    return 'again'",
            "assert worker(f, 9) == 'again'",
            "class A: pass",
            "assert type(worker(A)) is A",
        ]
        for number, cell in enumerate(cells):
            exec(compile(cell, f"<cell {number}>", "exec"), globals())
        """
    )


def test_what_cannot_be_sent():
    script(
        """
        import threading

        lock = threading.Lock()

        def plain(*args, **kwargs):
            return len(args)

        def uses_lock():
            return lock

        def calls_it():
            return uses_lock()

        def failure(fn, *args, **kwargs):
            try:
                worker(fn, *args, **kwargs)
            except BaseException as error:
                return error, " ".join(error.__notes__)
            raise AssertionError("nothing was raised")

        error, note = failure(plain, 1, lock)
        assert isinstance(error, TypeError) and "argument 2 of __main__.plain, of type lock" in note
        error, note = failure(plain, x=lock)
        assert isinstance(error, TypeError) and "argument 'x' of __main__.plain" in note
        error, note = failure(uses_lock)
        assert isinstance(error, TypeError)
        assert "the global lock of __main__, which __main__.uses_lock uses" in note
        error, note = failure(calls_it)
        assert "the global lock" in note
        error, note = failure(lambda captured=lock: 1)
        assert "the function __main__.<lambda>" in note, note

        class Stubborn:
            def __reduce__(self):
                raise ZeroDivisionError("never")

        error, note = failure(plain, Stubborn())
        assert isinstance(error, ZeroDivisionError) and "argument 1" in note
        error, note = failure(lambda: threading.Lock())
        assert isinstance(error, TypeError), error
        assert "the result of __main__.<lambda>, of type lock" in note
        deep = []
        for _ in range(100_000):
            deep = [deep]
        error, note = failure(plain, deep)
        assert isinstance(error, RecursionError)
        while deep:
            deep = deep.pop()
        assert worker(plain, 1, 2) == 2
        """
    )


def test_what_cannot_be_read_in_the_worker():
    script(
        """
        import sys, types

        gone = types.ModuleType("gone")
        sys.modules["gone"] = gone
        exec("def f(): return 1", vars(gone))
        gone.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("gone", None)

        try:
            worker(gone.f)
        except ModuleNotFoundError as error:
            assert "gone" in str(error)
        else:
            raise AssertionError
        assert worker(len, "abc") == 3
        """
    )


def test_exceptions_keep_class_cause_and_context_and_tell_where():
    script(
        """
        class Mine(Exception):
            def __init__(self, text, code):
                super().__init__(text, code)
                self.code = code

        def fail():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise Mine("text", 7) from error

        def chain():
            try:
                {}["x"]
            except KeyError:
                raise ValueError("second")

        try:
            worker(fail)
        except Mine as error:
            assert error.code == 7 and error.args == ("text", 7)
            assert type(error.__cause__) is ZeroDivisionError
            assert error.__suppress_context__
            [note] = error.__notes__
            assert "In worker process" in note and "in fail" in note
            assert "1 / 0" not in note.split("\\n")[0]
            assert "inbound.py" not in note
        else:
            raise AssertionError
        try:
            worker(chain)
        except ValueError as error:
            assert type(error.__context__) is KeyError and error.__cause__ is None
        else:
            raise AssertionError
        """
    )


def test_exceptions_that_cannot_be_pickled_have_a_stand_in():
    script(
        """
        import threading, plait

        class Holds(Exception):
            def __init__(self, text):
                super().__init__(text)
                self.lock = threading.Lock()

        class Needs(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")

        class Mute(Exception):
            def __init__(self):
                self.lock = threading.Lock()
            def __str__(self):
                raise RuntimeError

        def holds():
            raise Holds("the text")

        def needs():
            raise Needs(1, 2)

        def mute():
            raise Mute

        raising = ((holds, "Holds", "the text"), (needs, "Needs", "1 and 2"), (mute, "Mute", ""))
        for fn, kind, text in raising:
            try:
                worker(fn)
            except plait.RemoteError as error:
                assert error.type_name == f"__main__.{kind}", error.type_name
                assert text in error.message
                assert f"in {fn.__name__}" in error.traceback
            else:
                raise AssertionError(fn)
        """
    )


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()"])
def test_exceptions_that_are_not_of_class_exception(error):
    script(
        f"""
        def fail():
            raise {error}

        try:
            worker(fail)
        except BaseException as caught:
            assert repr(caught) == {error!r}.replace("()", "()")
        else:
            raise AssertionError
        """
    )


def test_several_workers_each_get_what_they_need():
    script(
        """
        N = 1

        def f():
            return N

        other = Worker(worker.out)
        assert worker(f) == 1
        N = 2
        assert other(f) == 2
        assert worker(f) == 2
        other.close()
        """
    )


def test_threads_encode_at_once():
    script(
        """
        import threading

        FUNCTIONS = []
        for n in range(50):
            exec(f"def f{n}(x):\\n    return x + {n} + base()")
            FUNCTIONS.append(globals()[f"f{n}"])

        def base():
            return 100

        errors, calls = [], []

        def encode():
            try:
                for f in FUNCTIONS:
                    calls.append((f, worker.out.encode_call(f, (1,), {})))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=encode) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert not errors and len(calls) == 200
        assert len({call.target for _, call in calls}) == 50
        for n in range(50):
            assert worker(FUNCTIONS[n], 1) == 101 + n
        """
    )
