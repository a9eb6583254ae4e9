"""`plait.submit(on="auto")`: where a call goes, and that this changes no result."""

import asyncio
import contextvars
import ctypes
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest
from choosing import choose, here, settle
from tasks import timeouts, wait_for_file

import plait
from plait._auto.deciding import Decision, Need
from plait._auto.measuring import Sample
from plait._auto.record import Record
from plait._auto.records import record_of

LIMIT = 60

factor = 3
table = {"a": 1}
seen = []
number = contextvars.ContextVar("number", default=0)

where = plait.task(here, parallel_safe=True)


def times(x):
    return x * factor


def look_up(key):
    return table[key]


def note(x):
    seen.append(x)
    return len(seen)


def run_program(path, *args):
    """Run a script; return what it prints."""
    command = [sys.executable, str(path), *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def submit(fn, *args):
    return plait.submit(fn, *args, on="auto")


@pytest.fixture(autouse=True)
def untouched():
    """Leave no trace in the globals of this module."""
    global factor, table
    yield
    factor, table = 3, {"a": 1}
    seen.clear()


@pytest.fixture
def forgotten(monkeypatch):
    """Have every function be unknown."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})


pytestmark = pytest.mark.usefixtures("forgotten")


# -- where ------------------------------------------------------------------


def test_the_first_call_is_made_here():
    future = submit(where)
    assert future.done()
    assert future.result() == here()


def test_beside_a_loop_it_is_made_in_a_thread():
    async def main():
        process, thread = await submit(where)
        assert process == os.getpid()
        assert thread != threading.get_ident()

    plait.run(main())
    asyncio.run(main())


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_then_where_it_was_decided(monkeypatch, method):
    choose(monkeypatch, method)
    settle(where)
    process, thread = submit(where).result(LIMIT)
    assert (process == os.getpid()) is (method != "process")
    assert (thread == threading.get_ident()) is (method == "serial") or method == "process"
    assert plait.explain(where).decision == method
    assert plait.explain(where).history[-1].decision == method


def test_what_the_user_says_wins(monkeypatch):
    choose(monkeypatch, "process")
    settle(where)
    assert plait.submit(where, on="thread").result(LIMIT)[0] == os.getpid()
    assert plait.submit(where, on="serial").result(LIMIT) == here()
    calls = plait.explain(where).calls
    plait.submit(where, on="process").result(LIMIT)
    assert plait.explain(where).calls == calls


def test_in_a_group(monkeypatch):
    with plait.TaskGroup() as group:
        first = group.submit(where, on="auto")
    assert first.result() == here()

    async def main():
        async with plait.TaskGroup() as group:
            second = group.submit(where, on="auto")
        return second.result()

    assert plait.run(main())[0] == os.getpid()


def test_a_coroutine_function_runs_on_the_loop():
    async def on_loop():
        return threading.get_ident()

    async def main():
        return await submit(on_loop)

    assert plait.run(main()) == threading.get_ident()
    assert plait.explain(on_loop).decision == "loop"


def test_exceptions_are_those_of_the_function(monkeypatch):
    def fail(x):
        raise ValueError(x)

    for method in ("serial", "thread", "process"):
        choose(monkeypatch, method)
        for _ in range(6):
            error = submit(fail, 3).exception(LIMIT)
            assert type(error) is ValueError
            assert error.args == (3,)


# -- results ----------------------------------------------------------------


@pytest.mark.parametrize("method", ["thread", "process"])
def test_a_function_with_an_effect_stays(monkeypatch, method):
    choose(monkeypatch, method)
    assert [submit(note, x).result() for x in range(9)] == list(range(1, 10))
    assert seen == list(range(9))
    explained = plait.explain(note)
    assert explained.decision == "serial"
    assert "calls `seen.append()` (test_auto.py:" in explained.reason
    assert explained.measured == 0


def test_effects_beside_a_loop_come_in_their_order():
    running = []

    def slow(x):
        running.append(x)
        assert running == [x]
        seen.append(x)
        running.remove(x)
        return x

    async def main():
        return await asyncio.gather(*[submit(slow, x) for x in range(50)])

    assert plait.run(main()) == list(range(50))
    assert seen == list(range(50))


def test_one_of_them_is_withdrawn_beside_a_loop(tmp_path):
    go = tmp_path / "go"

    def wait(path):
        wait_for_file(path)
        seen.append(path)

    async def main():
        first, second, third = submit(wait, go), submit(note, 2), submit(note, 3)
        assert second.cancel()
        go.touch()
        await first
        assert await third == 2

    plait.run(main())
    assert seen == [go, 3]


def test_what_code_does_not_tell_shows_in_the_arguments(monkeypatch):
    choose(monkeypatch, "process")
    rows = [[0], [0], [0], [0], [0], [0]]
    for row in rows:
        submit(set_first, row).result(LIMIT)
    assert rows == [[1]] * 6
    found = plait.explain(set_first)
    assert found.decision == "serial"
    assert "stays where it is called" in found.reason


def set_first(row):
    # In a way that its code does not tell.
    vars(sys.modules["operator"])["setitem"](row, 0, 1)


def test_an_array_is_compared_as_a_whole():
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(1_000_000)

    def put(array):
        # In a way that its code does not tell.
        ctypes.memset(array[999_999:].ctypes.data, 1, 8)

    submit(put, array).result()
    assert "changes its arguments" in str(plait.explain(put).effects[0])


def test_an_argument_that_cannot_be_looked_into_stays(monkeypatch):
    choose(monkeypatch, "thread")
    lock = threading.Lock()

    def hold(lock):
        return here()

    hold = plait.task(hold)
    found = plait.explain(hold)
    assert found.decision == "serial"  # `here` asks for its thread
    assert submit(lambda held: held.locked(), lock).result() is False


def test_a_global_that_was_changed_here_is_that_one_there(monkeypatch):
    global factor, table
    choose(monkeypatch, "process")
    settle(times, 2)
    assert submit(times, 2).result(LIMIT) == 6
    # What the workers have imported says 3.
    vars(sys.modules[__name__])["factor"] = 4
    assert [submit(times, 2).result(LIMIT) for _ in range(5)] == [8] * 5
    settle(look_up, "a")
    vars(sys.modules[__name__])["table"]["a"] = 2
    assert [submit(look_up, "a").result(LIMIT) for _ in range(5)] == [2] * 5


def test_globals_of_a_script(tmp_path):
    program = tmp_path / "script.py"
    program.write_text(
        textwrap.dedent("""
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from choosing import settle
        from plait._auto import record
        from plait._auto.deciding import Decision
        import plait

        table, limit = {"a": 1}, 5

        def look_up(key):
            return table.get(key), limit

        def main():
            record.decided = lambda *_, **__: Decision("process", 2, 1, "", ())
            settle(look_up, "a")
            print(plait.submit(look_up, "a", on="auto").result())
            table["a"] = 2
            print(plait.submit(look_up, "a", on="auto").result())
            globals()["limit"] = 6
            print(plait.submit(look_up, "a", on="auto").result())
            print(set(plait.map(look_up, ["a"] * 99)))
            table["a"] = 3
            print(set(plait.map(look_up, ["a"] * 99)))

        if __name__ == "__main__":
            main()
        """)
    )
    helpers = os.path.join(os.path.dirname(__file__), "helpers")
    lines = run_program(program, helpers).splitlines()
    assert lines == ["(1, 5)", "(2, 5)", "(2, 6)", "{(2, 6)}", "{(3, 6)}"]


def test_the_environment_that_was_changed_here_is_that_one_there(monkeypatch, tmp_path):
    choose(monkeypatch, "process")
    read = plait.task(lambda: (os.environ.get("PLAIT_TEST"), os.getcwd()), parallel_safe=True)
    settle(read)
    assert submit(read).result(LIMIT) == (None, os.getcwd())
    monkeypatch.setenv("PLAIT_TEST", "1")
    monkeypatch.chdir(tmp_path)
    assert submit(read).result(LIMIT) == ("1", str(tmp_path))


def test_an_object_that_comes_back_is_the_same(monkeypatch):
    choose(monkeypatch, "process")

    def same(x):
        return x

    given = {"a": 1}
    assert all(submit(same, given).result(LIMIT) is given for _ in range(6))
    assert "a process would make a copy" in record_of(same)[0].kept


def test_a_result_that_cannot_be_pickled_comes_from_here(monkeypatch):
    choose(monkeypatch, "process")

    def make(x):
        return threading.Lock()

    for _ in range(6):
        assert submit(make, 1).result(LIMIT).locked() is False

    def count(n):
        return (i for i in range(n))

    assert [sum(submit(count, 4).result(LIMIT)) for _ in range(6)] == [6] * 6


def test_contexts(monkeypatch):
    choose(monkeypatch, "process")

    def add(x):
        number.set(number.get() + x)
        return number.get()

    number.set(10)
    assert [submit(add, 1).result(LIMIT) for _ in range(6)] == [11] * 6
    assert list(plait.map(add, [1] * 50)) == [11] * 50
    assert number.get() == 10


def test_the_random_numbers_are_those_of_plain_calls():
    def draw():
        return random.random()

    random.seed(1)
    plain = [draw() for _ in range(9)]
    random.seed(1)
    assert [submit(draw).result() for _ in range(9)] == plain


# -- calls ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_each_call_is_made_once(monkeypatch, tmp_path, method):
    choose(monkeypatch, method)
    path = str(tmp_path / "calls")

    def call(path, x):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"%d\n" % x)
        os.pwrite(file, b"", 0)

    call = plait.task(call, parallel_safe=True)
    futures = [submit(call, path, x) for x in range(100)]
    assert [future.result(LIMIT) for future in futures] == [None] * 100
    with open(path) as file:
        assert sorted(map(int, file)) == list(range(100))


def test_a_first_call_may_wait_for_another():
    def nested(n):
        return n if n == 0 else submit(nested, n - 1).result(LIMIT) + 1

    assert submit(nested, 20).result(LIMIT) == 20

    async def main():
        return await asyncio.gather(*[submit(nested, 5) for _ in range(20)])

    assert plait.run(main()) == [5] * 20


def test_also_from_a_thread_that_it_starts():
    def nested(n):
        found = []
        if n:
            thread = threading.Thread(
                target=lambda: found.append(submit(nested, n - 1).result(LIMIT))
            )
            thread.start()
            thread.join()
        return n

    assert submit(nested, 5).result(LIMIT) == 5


@pytest.mark.parametrize("method", ["thread", "process"])
def test_calls_that_hand_out_calls_wait_for_no_thread_that_waits(monkeypatch, method):
    choose(monkeypatch, method, width=2)

    def cell(x):
        return x + 1

    def row(depth, x):
        if depth == 0:
            return cell(x)
        return sum(submit(row, depth - 1, y).result(LIMIT) for y in range(3))

    assert submit(row, 5, 0).result(LIMIT) == 3**4 * 6
    futures = [submit(row, 3, 0) for _ in range(20)]
    assert [future.result(LIMIT) for future in futures] == [54] * 20


def test_also_from_a_loop_that_it_runs():
    def nested(n):
        seen.append(n)

        async def main():
            return await asyncio.gather(submit(nested, n - 1), submit(nested, n - 1))

        return sum(asyncio.run(main())) + 1 if n else 1

    async def main():
        return await submit(nested, 3)

    assert plait.run(main()) == 15


@pytest.mark.parametrize("fn", ["free", "kept"])
def test_a_loop_is_never_blocked(tmp_path, fn):
    go = tmp_path / "go"

    def free(path):
        return wait_for_file(path)

    def kept(path):
        seen.append(path)
        return wait_for_file(path)

    async def main():
        futures = [submit(free if fn == "free" else kept, go) for _ in range(5)]
        # The calls end when this runs, and not before.
        go.touch()
        return await asyncio.gather(*futures)

    assert plait.run(main()) == ["go"] * 5


def test_what_was_accepted_is_done_before_exit(tmp_path):
    program = tmp_path / "script.py"
    program.write_text(
        textwrap.dedent("""
        import asyncio, plait
        seen = []
        def note(x):
            seen.append(x)
            print(x, flush=True)
        async def main():
            for x in range(20):
                plait.submit(note, x, on="auto")
        plait.run(main())
        """)
    )
    assert run_program(program).split() == [str(x) for x in range(20)]


# -- terms ------------------------------------------------------------------


def test_a_timeout_stops_the_first_call():
    def spin():
        while True:
            pass

    fn = plait.task(spin, on="auto", timeout=0.05)
    assert type(plait.submit(fn).exception(LIMIT)) is plait.TaskTimeout
    assert plait.explain(fn).decision == "process"


def test_a_timeout_stops_a_call_that_has_an_effect():
    def spin():
        seen.append(1)
        while True:
            pass

    for timeout in timeouts(0.05):
        future = plait.submit(plait.task(spin, on="auto", timeout=timeout))
        # It has stayed: nothing that comes after it has begun before its end.
        assert future.done()
        assert type(future.exception()) is plait.TaskTimeout
        if seen:
            break
    assert seen == [1]


def test_retries():
    attempts = []

    def third(x):
        attempts.append(x)
        if len(attempts) < 3:
            raise OSError
        return x

    assert submit(plait.task(third, retries=2), 1).result(LIMIT) == 1
    assert attempts == [1, 1, 1]


# -- what is remembered -----------------------------------------------------


def sample(wall, **others):
    return Sample(wall, wall, 0.0, wall, 0, (10, 10, {}), **others)


def test_what_others_do_meanwhile_is_not_the_functions():
    seen = Sample(1.0, 0.1, 0.05, 2.0, 0, (100, 10, {"socket": 90})).beside_others()
    assert seen.wall == 1.0
    assert seen.process_cpu == 0.1
    record = Record(times)
    for wall in (0.1, 0.1, 5.0, 0.1):
        # Of the slow one nobody knows what it has waited for.
        counted = (0, 0, {}) if wall == 5.0 else (10, 10, {})
        record.note(Sample(wall, 0.1, 0.0, 0.1, 0, counted).beside_others())
    assert record.measured == 4
    assert record.signals().wall == 0.1
    assert len(record._samples) == 2


def test_a_function_that_was_changed_in_place(monkeypatch):
    choose(monkeypatch, "process")

    def add(x, y=1):
        return x + y

    settle(add, 1)
    assert submit(add, 1).result(LIMIT) == 2
    add.__defaults__ = (5,)
    assert submit(add, 1).result(LIMIT) == 6
    assert [submit(add, 1).result(LIMIT) for _ in range(9)] == [6] * 9
    assert list(plait.map(add, range(60))) == list(range(5, 65))
    add.__code__ = (lambda x, y: x * y).__code__
    assert list(plait.map(add, range(60))) == [5 * x for x in range(60)]
    add.__code__ = (lambda x, y: seen.append(x) or len(seen)).__code__
    assert list(plait.map(add, range(60))) == list(range(1, 61))


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("plait._auto.record.time", self)

    def monotonic(self):
        return self.now

    time = monotonic


def test_a_cost_that_has_changed_is_decided_anew(monkeypatch):
    made = choose(monkeypatch, "thread")
    monkeypatch.setattr("plait._auto.record._DRIFT", 2.0)
    clock = Clock(monkeypatch)
    record = Record(times)
    for _ in range(3):
        record.note(sample(0.01))
    assert record.knows_enough()
    for _ in range(3):
        assert not record.is_settled
        record.decide(Need(100))
    assert record.is_settled
    # One that is slow is none, nor are two; and not so soon.
    for _ in range(9):
        record.note(sample(0.1))
    assert record.decision is not None
    clock.now += 10
    record.note(sample(0.01))
    record.note(sample(0.1))
    record.note(sample(0.1))
    record.note(sample(0.01))
    assert record.decision is not None
    for _ in range(3):
        record.note(sample(0.1))
    assert record.decision is None
    assert "a call takes 0.1 s and no longer 0.01 s" in record.history[-1].reason
    assert made == ["thread"] * 3


def test_costs_elsewhere_count_too(monkeypatch):
    choose(monkeypatch, "process", width=2)
    monkeypatch.setattr("plait._auto.record._DRIFT", 2.0)
    clock = Clock(monkeypatch)
    record = Record(times)
    for _ in range(3):
        record.note(sample(0.01))
    for _ in range(3):
        record.decide(Need(100))
    clock.now += 10
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    for _ in range(9):
        # Two at once may take twice as long.
        record.note_cost(0.03)
    assert record.decision is not None
    monkeypatch.setattr("os.getloadavg", lambda: (10.0 * os.cpu_count(), 0.0, 0.0))
    for _ in range(9):
        # Nor is it the function that takes longer on a busy machine.
        record.note_cost(0.05)
    assert record.decision is not None
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    for _ in range(3):
        record.note_cost(0.05)
    assert record.decision is None


def test_a_place_that_is_hardly_better_is_not_changed_to(monkeypatch):
    from plait._auto import deciding
    from plait._measure.estimating import Estimate

    def estimate(method, seconds):
        return Estimate(method, 2, 1, seconds, 0.0, 0.0, 0, method)

    found = [estimate("process", 1.0), estimate("serial", 1.1)]
    monkeypatch.setattr(deciding, "estimates", lambda *_, **__: found)
    before = Decision("serial", 1, 1, "", ())
    record = Record(times)
    record.note(sample(0.01))
    assert deciding.decided(record.signals(), Need(9)).method == "process"
    assert deciding.decided(record.signals(), Need(9), before=before).method == "serial"
    found[1] = estimate("serial", 1.3)
    assert deciding.decided(record.signals(), Need(9), before=before).method == "process"
    barred = Need(9, (), (("process", "has an effect"),))
    assert deciding.decided(record.signals(), barred).method == "serial"
    assert deciding.decided(record.signals(), barred).reason == "has an effect; serial"
    assert deciding.decided(record.signals(), Need(9), process="is kept").method == "serial"


def test_a_pool_that_is_cold_costs_its_start(monkeypatch):
    from plait._auto import deciding
    from plait._measure.estimating import estimates

    asked = []

    def spy(*args, **kwargs):
        asked.append(kwargs["cold"])
        return estimates(*args, **kwargs)

    monkeypatch.setattr(deciding, "estimates", spy)
    monkeypatch.setattr("plait._auto.pools.is_made", lambda kind: False)
    settle(times, 2)
    assert set(asked) == {("process",)}


def test_explained():
    assert plait.explain(times).decision is None
    settle(times, 2)
    explained = plait.explain(times)
    assert explained.decision == "serial"
    assert explained.signals.calls == explained.measured >= 3
    assert explained.effects == ()
    assert dict(explained.seconds)["serial"] > 0
    text = str(explained)
    assert "times: on='serial'" in text
    assert "calls measured" in text
    with pytest.raises(AttributeError):
        explained.decision = "thread"
    with pytest.raises(TypeError, match="callable"):
        plait.explain(3)


def test_what_counts_for_some_arguments_is_said_so():
    def sort(rows):
        rows.sort()

    explained = plait.explain(sort)
    assert explained.decision is None
    assert explained.effects[0].argument == "rows"
    assert "where `rows` can be changed, it calls `rows.sort()`" in str(explained)


def test_a_function_that_is_gone_is_forgotten():
    import gc

    from plait._auto import records

    def fn(x):
        return x

    submit(fn, 1).result()
    before = len(records._records)
    del fn
    gc.collect()
    assert len(records._records) < before


def test_methods_of_classes_in_c_are_known_again():
    record = record_of(str.upper)[0]
    assert record_of(str.upper)[0] is record
    assert list(plait.map(str.upper, "abc" * 100)) == list("ABC" * 100)
    assert plait.explain(str.upper).decision == "serial"


def test_large_arguments_are_no_effort():
    from plait._auto.comparing import Arguments

    data = bytes(64 << 20)
    looked = Arguments((data,), {})
    assert looked.size > len(data)
    assert looked.problem is None
    assert not looked.have_changed()
    array = bytearray(4 << 20)
    looked = Arguments((array,), {})
    array[-1] = 1
    assert looked.have_changed()
    many = Arguments((list(range(10**7)),), {})
    assert "16 MB of small objects" in many.problem
    assert many.is_unseen


trace = []
by_name = {"put": trace.append}


def changes_unseen(x):
    getattr(trace, "app" + "end")(x)
    return len(trace)


def keeps_a_default(x, mine=[]):  # noqa: B006 - that is the point
    getattr(mine, "app" + "end")(x)
    return len(mine)


def calls_by_data(x):
    by_name["put"](x)
    return len(trace)


@pytest.mark.parametrize("fn", [changes_unseen, keeps_a_default, calls_by_data])
@pytest.mark.parametrize("method", ["thread", "process"])
def test_what_a_call_has_changed_that_no_code_tells(monkeypatch, fn, method):
    choose(monkeypatch, method)
    first = fn(0)
    assert list(plait.map(fn, range(40))) == list(range(first + 1, first + 41))
    assert submit(fn, 1).result(LIMIT) == first + 41
    assert plait.explain(fn).decision == "serial"
