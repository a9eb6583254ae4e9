"""What is made anew at the other side. Each test is a script of its own, for it is
about `__main__`."""

import sys

import pytest
from main_scripts import script


def test_sentinels_stay_themselves():
    script(
        """
        MISSING = object()

        class _Absent:
            pass

        class _Named:
            def __reduce__(self):
                return "NAMED"

        ABSENT = _Absent()
        NAMED = _Named()
        ALIAS = MISSING

        def defaults(a=MISSING, b=ABSENT, c=NAMED, *, d=MISSING):
            return a is MISSING and b is ABSENT and c is NAMED and d is ALIAS

        def passed(a, b, c):
            return defaults(a, b, c)

        class Holder:
            absent = ABSENT

            def look(self, default=MISSING):
                return default is MISSING and self.absent is ABSENT

        def closure():
            inner = MISSING
            return lambda: inner is MISSING

        assert defaults()
        for _ in range(3):
            assert worker(defaults)
            assert worker(lambda a=MISSING, b=ABSENT: a is MISSING and b is ABSENT)
            assert worker(Holder().look)
            assert worker(closure())
        assert worker(passed, MISSING, ABSENT, NAMED)
        back = worker(lambda: (MISSING, ABSENT, NAMED))
        assert back[0] is MISSING and back[1] is ABSENT and back[2] is NAMED

        # What no global leads to is as it was.
        assert type(worker(lambda: object())) is object
        assert type(worker(lambda x: x, _Absent())) is _Absent
        assert worker(lambda x: x is ABSENT, _Absent()) is False
        """
    )


def test_a_sentinel_of_the_worker_alone():
    script(
        """
        def make():
            global LATER
            LATER = object()
            return LATER

        assert type(worker(make)) is object
        """
    )


def test_objects_with_a_state_are_copies():
    script(
        """
        class Config:
            def __init__(self):
                self.seen = []

        CONFIG = Config()
        CONFIG.seen.append(1)
        assert worker(lambda config: config.seen, CONFIG) == [1]
        CONFIG.seen.append(2)
        assert worker(lambda config: config.seen, CONFIG) == [1, 2]

        class Number(int):
            pass

        FIVE = Number(5)
        assert worker(lambda x: x + FIVE, FIVE) == 10
        """
    )


def test_what_typing_pickles_by_name():
    script(
        """
        import functools
        from collections.abc import Callable
        from typing import Generic, NewType, ParamSpec, TypeVar, TypeVarTuple, Unpack

        UserId = NewType("UserId", int)
        P = ParamSpec("P")
        Ts = TypeVarTuple("Ts")
        R = TypeVar("R")

        def timed(fn: Callable[P, R]) -> Callable[P, tuple[float, R]]:
            @functools.wraps(fn)
            def inner(*args: P.args, **kwargs: P.kwargs) -> tuple[float, R]:
                return 0.0, fn(*args, **kwargs)

            return inner

        @timed
        def double(user: UserId) -> int:
            return UserId(user * 2)

        class Holder(Generic[Unpack[Ts]]):
            def first(self, *args: Unpack[Ts]) -> object:
                return args[0]

        assert worker(double, 4) == (0.0, 8)
        assert worker(timed(lambda x: x), 4) == (0.0, 4)
        assert worker(UserId, 3) == 3
        assert worker(lambda: UserId) is UserId
        assert worker(lambda: P) is P
        assert worker(lambda: (UserId.__supertype__, UserId.__module__)) == (int, "__main__")
        assert worker(Holder().first, 1) == 1
        """
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_type_aliases_and_parameters():
    script(
        """
        type Tree = dict[str, Tree]
        type Even = list[Odd]
        type Odd = list[Even]
        type Pair[T] = tuple[T, T]
        type Unknown = NotDefinedAnywhere

        def f[T, **P, *Ts](x: Tree, y: Pair[T] | None = None, z: Unknown = 3) -> Tree:
            return x

        assert worker(f, {"a": {}}) == {"a": {}}
        assert worker(lambda: Tree) is Tree
        assert worker(lambda: (Odd, Even)) == (Odd, Even)
        assert worker(lambda: Pair.__type_params__[0].__name__) == "T"
        """
    )


def test_functions_that_dispatch():
    script(
        """
        import functools

        @functools.singledispatch
        def kind(x):
            return "object"

        @kind.register
        def _(x: int):
            return "int"

        class Dispatcher:
            @functools.singledispatchmethod
            def kind(self, x):
                return "object"

            @kind.register
            def _(self, x: list):
                return "list"

        assert kind(3) == "int"  # its cache leads to its functions
        assert [worker(kind, x) for x in (1, "")] == ["int", "object"]
        assert [worker(Dispatcher().kind, x) for x in ([], "")] == ["list", "object"]
        """
    )


def test_weak_collections():
    script(
        """
        import weakref

        class Node:
            pass

        KEPT = Node()
        BY_KEY = weakref.WeakKeyDictionary({KEPT: 1})
        BY_NAME = weakref.WeakValueDictionary(a=KEPT)
        ALL = weakref.WeakSet([KEPT])
        HELD = [KEPT, BY_KEY, BY_NAME, ALL]

        def look():
            kept, by_key, by_name, everything = HELD
            return by_key[kept] == 1 and by_name["a"] is kept and list(everything) == [kept]

        assert worker(look)
        assert worker(lambda: (len(BY_KEY), len(BY_NAME), len(ALL))) == (1, 1, 1)

        NODE = Node()
        NODE.value = 1  # so it is copied wherever it is
        ALONE = weakref.WeakSet([NODE])
        assert worker(lambda: len(ALONE)) == 0
        """
    )


def test_globals_of_which_each_process_has_its_own():
    script(
        """
        import contextvars
        import functools
        import queue
        import struct
        import sys
        import threading
        from sys import stderr

        lock, again = threading.Lock(), threading.RLock()
        event, condition = threading.Event(), threading.Condition()
        waiting, simple = queue.Queue(), queue.SimpleQueue()
        local = threading.local()
        given = contextvars.ContextVar("given", default=3)
        bare = contextvars.ContextVar("bare")
        HEADER = struct.Struct("!IH")
        lock.acquire()

        class Cache:
            def __init__(self):
                self.lock = threading.Lock()
                self.values = {}

            def put(self, key, value):
                with self.lock:
                    self.values[key] = value
                    return len(self.values)

        CACHE = Cache()

        def guarded(fn, lock=threading.Lock()):
            @functools.wraps(fn)
            def call(*args):
                with lock:
                    return fn(*args)
            return call

        @guarded
        def double(x):
            return 2 * x

        def use():
            with lock, again, condition:
                event.set()
                waiting.put(1)
                simple.put(2)
                local.value = 4
                bare.set(5)
                print("", end="", file=stderr)
                same = stderr is sys.stderr
                return same, waiting.get(), simple.get(), given.get(), bare.get(), HEADER.size

        assert worker(use) == (True, 1, 2, 3, 5, 6)
        assert not event.is_set()
        assert [worker(lambda: CACHE.put(len(CACHE.values), 1)) for _ in range(2)] == [1, 2]
        assert worker(double, 4) == 8
        """
    )


def test_locks_are_no_arguments():
    script(
        """
        import contextvars
        import threading

        for argument in (threading.Lock(), threading.local(), contextvars.ContextVar("x")):
            try:
                worker(id, argument)
            except TypeError as error:
                assert "cannot pickle" in str(error)
                assert any("argument 1 of id" in note for note in error.__notes__)
            else:
                raise AssertionError(argument)
        """
    )


def test_a_name_that_could_not_be_loaded_says_why():
    script(
        """
        class Picky:
            def __setstate__(self, state):
                raise ValueError("not here")

            def __getstate__(self):
                return 1

        PICKY = Picky()
        namespace = {"__name__": "nowhere"}
        probe = lambda: PICKY

        for _ in range(2):
            try:
                worker(probe)
            except (NameError, ValueError) as error:
                assert "not here" in "".join([str(error), *error.__notes__])
            else:
                raise AssertionError
        """
    )
