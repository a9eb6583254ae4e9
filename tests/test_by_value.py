"""What travels to a worker by value. Each test is a script of its own, for it is
about `__main__`."""

import textwrap

import pytest
from main_scripts import script


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


def test_a_name_that_is_deleted_hides_no_builtin_any_more():
    script(
        """
        def largest(values):
            return max(values)

        assert worker(largest, [1, 2]) == 2
        max = min
        assert worker(largest, [1, 2]) == 1
        del max
        assert worker(largest, [1, 2]) == 2
        assert worker(largest, [3, 4]) == 4
        max = len
        assert worker(largest, [1, 2, 3]) == 3
        del max
        assert worker(lambda values: max(values), [1, 2]) == 2

        # What the worker itself has set stays.
        def init():
            global sorted
            sorted = sum

        worker(init)
        assert worker(lambda: sorted([1, 2])) == 3
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
        numbers = (n for n in range(3))

        def plain(*args, **kwargs):
            return len(args)

        def uses_numbers():
            return numbers

        def calls_it():
            return uses_numbers()

        def failure(fn, *args, **kwargs):
            try:
                worker(fn, *args, **kwargs)
            except BaseException as error:
                return error, " ".join(error.__notes__)
            raise AssertionError("nothing was raised")

        error, note = failure(plain, 1, lock)
        assert isinstance(error, TypeError) and "2" in note and "plain" in note, note
        error, note = failure(plain, x=lock)
        assert isinstance(error, TypeError) and "'x'" in note and "plain" in note, note
        error, note = failure(uses_numbers)
        assert isinstance(error, TypeError)
        assert "global 'numbers' of __main__" in note and "uses_numbers" in note, note
        error, note = failure(calls_it)
        assert "global 'numbers' of __main__" in note, note
        error, note = failure(lambda captured=lock: 1)
        assert "lambda" in note, note

        class Stubborn:
            def __reduce__(self):
                raise ZeroDivisionError("never")

        error, note = failure(plain, Stubborn())
        assert isinstance(error, ZeroDivisionError) and "1" in note, note
        error, note = failure(lambda: threading.Lock())
        assert isinstance(error, TypeError), error
        assert "result" in note and "type lock" in note and "lambda" in note, note
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


def test_modules_that_only_the_parent_has_and_what_cannot_be_read():
    script(
        """
        import sys, types

        gone = types.ModuleType("gone")
        sys.modules["gone"] = gone
        exec("def f(): return 1", vars(gone))
        gone.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("gone", None)

        assert worker(gone.f) == 1

        class Unreadable:
            def __reduce__(self):
                return __import__, ("no_such_module_at_all",)

        try:
            worker(len, Unreadable())
        except ModuleNotFoundError as error:
            assert "no_such_module_at_all" in str(error)
            assert "while loading the function and its arguments" in error.__notes__[0]
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
            except (Holds, Needs, Mute) as error:
                assert type(error).__name__ == kind
                assert kind == "Mute" or str(error) == text
                assert f"in {fn.__name__}" in error.__notes__[-1]
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
        import os, tempfile, time

        N = 1

        def f(path):
            # Both are at work at once: each waits for the file of the other.
            mine, theirs = path
            open(mine, "w").close()
            while not os.path.exists(theirs):
                time.sleep(0.001)
            return N

        def both(folder):
            a, b = os.path.join(folder, "a"), os.path.join(folder, "b")
            futures = [many.pool.submit(f, path) for path in ((a, b), (b, a))]
            return [future.result() for future in futures]

        many = Worker(2)
        for N in (1, 2, 1):
            with tempfile.TemporaryDirectory() as folder:
                assert both(folder) == [N, N]
        many.close()
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

        errors, results = [], []

        def encode():
            try:
                for f in FUNCTIONS:
                    results.append(worker(f, 1))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=encode) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert not errors
        assert sorted(results) == sorted([101 + n for n in range(50)] * 4)
        """
    )
