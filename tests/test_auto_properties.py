"""Programs of calls end as plain calls do, wherever `on="auto"` sends them."""

import itertools
import random
import sys
import types

import pytest
from choosing import choose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import plait

# A module that is made anew for each run.
CODE = """
import functools
import itertools
import random
import sys

count = 0
log = []
table = {0: [0]}
scale = 2
numbers = itertools.count()

class Box:
    total = 0
    def __init__(self, value=0):
        self.value = value
    def put(self, x):
        self.value += x
        return self.value
    def look(self):
        return self.value

box = Box()

class Worker:
    made = 0
    seen = []
    def __init__(self, sink):
        self.sink = sink
        self.own = []
        type(self).made += 1
    def work(self, x):
        self.own.append(x)
        return self.keep(x)
    def keep(self, x):
        if x > 3:
            self.sink.append(x)
        return len(self.own), len(self.sink)
    @property
    def latest(self):
        self.seen.append(len(self.seen))
        return self.seen[-1]

class Quiet(Worker):
    def keep(self, x):
        return super().keep(x) if x > 2 else (0, 0)

class Hook:
    pass

hook = Hook()
hook.call = log.append

class Pure:
    factors = (1, 2)
    def __init__(self, x):
        self.x, self.rows = x, []
    def __add__(self, other):
        return Pure(self.x + other.x)
    def run(self):
        for factor in self.factors:
            self.rows.append(self.x * factor)
        return self.rows

def works(x):
    return Worker(log).work(x)

def works_quietly(x):
    return Quiet([]).work(x)

def works_by_super(x):
    return Quiet(log).work(x)

def latest(x):
    return Worker([]).latest if x > 2 else x

def made(x):
    return Worker.made + x

def hooked(x):
    return hook.call(x) if x > 3 else x

def handed(x):
    return list(map(log.append, [x])) if x > 3 else x

def partly(x):
    return functools.partial(log.append, x)() if x > 2 else x

def by_name(x):
    setattr(sys.modules[__name__], "count", x) if x > 3 else None
    return x

def by_class(x):
    return (Pure(x) + Pure(1)).run()

def generated(x):
    def numbers():
        for i in range(x):
            if i > 2:
                log.append(i)
            yield i
    return sum(numbers())

def pure(x):
    found = [i * x for i in range(5)]
    found.append(sum(found))
    return found

def scaled(x):
    return x * scale

def bump(x):
    global count
    count += x
    return count

def read_count(x):
    return count + x

def note(x):
    log.append(x)
    return len(log)

def read_log(x):
    return list(log), x

def put(x):
    table.setdefault(x % 3, []).append(x)

def look_up(x):
    return table.get(x % 3)

def move(x):
    return box.put(x)

def look(x):
    return box.look() + x

def rescale(x):
    global scale
    scale = x

def draw(x):
    return random.random(), x

def take(x):
    return next(numbers)

def push(rows, x):
    rows.append(x)
    return len(rows)

def first(rows, x):
    return rows[:1], x

def same(rows, x):
    return rows

def nested(x):
    return [note(i) for i in range(x % 3)] + [pure(x)]

def fail(x):
    log.append(x)
    raise ValueError(x)

def counter():
    state = [0]
    def step(x):
        state[0] += x
        return state[0]
    return step

step = counter()
"""
OF_ROWS = ["push", "first", "same"]
OTHERS = [
    "pure",
    "scaled",
    "bump",
    "read_count",
    "note",
    "read_log",
    "put",
    "look_up",
    "move",
    "look",
    "rescale",
    "draw",
    "take",
    "nested",
    "fail",
    "step",
    "works",
    "works_quietly",
    "works_by_super",
    "latest",
    "made",
    "hooked",
    "handed",
    "partly",
    "by_name",
    "by_class",
    "generated",
]
DATA = ["count", "log", "table", "scale"]

calls = st.lists(
    st.tuples(st.sampled_from(OTHERS + OF_ROWS), st.integers(0, 5), st.booleans()), max_size=30
)


def run(program, call):
    """Run a program in a new module; return what its calls came to, and what is left."""
    module = types.ModuleType("auto_program")
    sys.modules["auto_program"] = module
    exec(compile(CODE, "auto_program.py", "exec"), vars(module))
    random.seed(1)
    rows = [1]
    pending = []
    for name, x, in_map in program:
        fn = getattr(module, name)
        args = (rows, x) if name in OF_ROWS else (x,)
        pending.append(call(fn, args, in_map))
    came = [outcome() for outcome in pending]
    same = [value is rows for value in came]
    left = [getattr(module, name) for name in DATA], module.box.value, rows, random.random()
    left += module.Worker.made, module.Worker.seen, module.Quiet.made
    return repr((came, same, left, next(module.numbers)))


def outcome_of(ask):
    try:
        return ask()
    except ValueError as error:
        return "raised", error.args


def plainly(fn, args, in_map):
    came = outcome_of(lambda: [fn(*args)] if in_map else fn(*args))
    return lambda: came


def by_auto(fn, args, in_map):
    if in_map:
        results = plait.map(fn, *[[value] for value in args])
        came = outcome_of(lambda: list(results))
        return lambda: came
    future = plait.submit(fn, *args, on="auto")
    return lambda: outcome_of(lambda: future.result(60))


@pytest.mark.parametrize("method", ["thread", "process"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(program=calls, repeats=st.integers(1, 4))
def test_a_program_ends_as_by_plain_calls(monkeypatch, method, program, repeats):
    choose(monkeypatch, method)
    program = program * repeats
    assert run(program, by_auto) == run(program, plainly)


@settings(deadline=None)
@given(program=calls)
def test_beside_a_loop_the_effects_come_in_their_order(program):
    # Those that only read may run beside others here, and are left out.
    program = [step for step in program if step[0] not in ("first", "same")]

    async def main():
        futures = []

        def call(fn, args, in_map):
            future = plait.submit(fn, *args, on="auto")
            futures.append(future)
            return lambda: outcome_of(lambda: future.result(60))

        return run([(name, x, False) for name, x, _ in program], call)

    plain = run([(name, x, False) for name, x, _ in program], plainly)
    assert plait.run(main()) == plain


def test_the_program_counts():
    # What the two tests above compare does tell one order from another.
    program = [("note", 1, False), ("note", 2, False), ("draw", 1, False)]
    other = [program[i] for i in (1, 0, 2)]
    assert run(program, plainly) == run(program, plainly) != run(other, plainly)
    assert set(itertools.chain(OTHERS, OF_ROWS)) >= {"pure", "push"}
