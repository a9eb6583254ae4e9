"""`on="auto"` where something is wrong with arguments, with the process, or with the moment."""

import asyncio
import concurrent.futures
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import types
import weakref

import pytest
from choosing import choose, settle

import plait
from plait._auto import comparing
from plait._pickling.shared import REGISTERED

LIMIT = 60

methods = pytest.mark.parametrize("method", ["serial", "thread", "process"])


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Have every function be unknown."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})


def submit(fn, *args, **kwargs):
    return plait.submit(fn, *args, on="auto", **kwargs)


class Hostile:
    """Raises wherever it is looked at."""

    def __init__(self, value):
        object.__setattr__(self, "hidden", value)

    def __reduce_ex__(self, protocol):
        raise ValueError("not me")

    def __eq__(self, other):
        raise ValueError("no comparison")

    def __hash__(self):
        raise ValueError("no hash")

    def __bool__(self):
        raise ValueError("no truth")

    def __len__(self):
        raise ValueError("no length")

    def __iter__(self):
        raise ValueError("no items")

    def __getattribute__(self, name):
        if name in ("hidden", "__class__"):
            return object.__getattribute__(self, name)
        raise ValueError(f"no {name}")


def reveal(hostile):
    return hostile.hidden


@methods
def test_arguments_that_cannot_be_looked_at(monkeypatch, method):
    choose(monkeypatch, method)
    given = [Hostile(x) for x in range(60)]
    assert list(plait.map(reveal, given)) == list(range(60))
    assert list(plait.map(reveal, iter(given))) == list(range(60))
    assert [submit(reveal, one).result(LIMIT) for one in given] == list(range(60))

    async def main():
        taken = [x async for x in plait.map(reveal, given)]
        return taken, [await submit(reveal, one) for one in given]

    assert plait.run(main()) == (list(range(60)), list(range(60)))


@methods
def test_results_that_cannot_be_looked_at(monkeypatch, method):
    choose(monkeypatch, method)
    assert [reveal(one) for one in plait.map(Hostile, range(60))] == list(range(60))
    assert [reveal(submit(Hostile, x).result(LIMIT)) for x in range(9)] == list(range(9))


def test_a_first_call_that_is_interrupted():
    calls = []

    def interrupt(x):
        if x == 0:
            raise KeyboardInterrupt
        return x

    with pytest.raises(KeyboardInterrupt):
        submit(interrupt, 0)
    assert not calls
    assert [submit(interrupt, x).result(LIMIT) for x in range(1, 9)] == list(range(1, 9))
    assert list(plait.map(interrupt, range(1, 60))) == list(range(1, 60))


@methods
def test_a_map_that_is_left_midway_holds_nothing(monkeypatch, method):
    choose(monkeypatch, method)

    class Item:
        pass

    def take(item):
        return 1

    items = [Item() for _ in range(400)]
    gone = [weakref.ref(item) for item in items]
    results = plait.map(plait.task(take, parallel_safe=True), iter(items))
    assert [next(results) for _ in range(50)] == [1] * 50
    results.close()
    del results, items
    plait.submit(abs, 1, on="process").result(LIMIT)
    deadline = threading.Event()
    for _ in range(600):
        gc.collect()
        if not any(ref() for ref in gone):
            return
        # Calls that had begun end by themselves.
        deadline.wait(0.1)
    raise AssertionError("items are held")


def run(tmp_path, text, **options):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os, sys, time, threading
        import plait
        from plait._auto import record
        from plait._auto.deciding import Decision

        def choose(method):
            record.decided = lambda *_, **__: Decision(method, 2, 1, "", ((method, 1.0),))
        """)
        + textwrap.dedent(text)
    )
    return subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT * 2,
        env={**os.environ, "PLAIT_ALLOW_DEBUG": "1"},
        check=False,
        **options,
    )


@methods
def test_exit_with_calls_under_way(tmp_path, method):
    ran = run(
        tmp_path,
        f"""
        def work(x):
            return sum(range(1000)) + x

        def note(x, seen=[]):
            seen.append(x)

        async def main():
            global results
            for _ in range(50):
                plait.submit(work, 1, on="auto")
                plait.submit(note, 1, on="auto")
            results = plait.map(work, range(1000))
            print(await anext(results))

        if __name__ == "__main__":
            choose({method!r})
            rest = plait.map(work, range(1000))
            print([next(rest) for _ in range(20)][-1])
            plait.run(main())
        """,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout.split() == [str(sum(range(1000)) + 19), str(sum(range(1000)))]


@methods
def test_a_fork_in_the_middle(tmp_path, method):
    ran = run(
        tmp_path,
        f"""
        import warnings

        def work(x):
            return x * x

        def both(who):
            assert list(plait.map(work, range(200))) == [x * x for x in range(200)]
            assert plait.submit(work, 3, on="auto").result(60) == 9
            async def main():
                return [x async for x in plait.map(work, range(100))]
            assert plait.run(main()) == [x * x for x in range(100)]
            # In one piece: both write to one pipe.
            os.write(1, who.encode() + b"\\n")

        if __name__ == "__main__":
            choose({method!r})
            rest = plait.map(work, range(1000))
            taken = [next(rest) for _ in range(20)]
            with warnings.catch_warnings():
                # Of threads, from 3.12 on.
                warnings.simplefilter("ignore")
                child = os.fork()
            both("child" if child == 0 else "parent")
            if child == 0:
                sys.exit()
            assert os.waitpid(child, 0)[1] == 0
            assert taken + list(rest) == [x * x for x in range(1000)]
        """,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert sorted(ran.stdout.split()) == ["child", "parent"]


def test_ctrl_c_while_a_first_call_runs(tmp_path):
    ran = run(
        tmp_path,
        """
        import signal

        def work(x):
            if x == 1:
                os.kill(os.getpid(), signal.SIGINT)
                while True:
                    pass
            return x

        if __name__ == "__main__":
            try:
                list(plait.map(work, range(9)))
            except KeyboardInterrupt:
                print("interrupted")
            print(plait.submit(work, 3, on="auto").result())
        """,
    )
    assert (ran.stdout.split(), ran.stderr) == (["interrupted", "3"], "")


@pytest.mark.parametrize("method", ["thread", "process"])
def test_futures_that_are_cancelled_beside_a_loop(monkeypatch, method):
    choose(monkeypatch, method)
    known = plait.task(lambda x: x, parallel_safe=True)
    settle(known, 1)

    async def main():
        for fn in (known, lambda x: x * 2):
            futures = [submit(fn, x) for x in range(40)]
            withdrawn = {x for x in range(1, 40, 2) if futures[x].cancel()}
            kept = [futures[x] for x in range(40) if x not in withdrawn]
            assert len(await asyncio.gather(*kept)) == 40 - len(withdrawn)
            for x in withdrawn:
                with pytest.raises(concurrent.futures.CancelledError):
                    futures[x].result(LIMIT)

    plait.run(main())


@methods
def test_groups_of_both_kinds(monkeypatch, method):
    choose(monkeypatch, method)

    def double(x):
        return 2 * x

    def fail(x):
        raise OSError(x)

    with plait.TaskGroup() as group:
        tasks = [group.submit(double, x, on="auto") for x in range(20)]
    assert [task.result() for task in tasks] == list(range(0, 40, 2))

    async def main():
        async with plait.TaskGroup() as group:
            tasks = [group.submit(double, x, on="auto") for x in range(20)]
        assert [task.result() for task in tasks] == list(range(0, 40, 2))

        async def failing():
            async with plait.TaskGroup() as group:
                for _ in range(5):
                    group.submit(fail, 1, on="auto")

        with pytest.raises(ExceptionGroup) as raised:
            await failing()
        assert raised.group_contains(OSError)

    plait.run(main())


def test_a_signal_handler_may_submit(monkeypatch):
    found = []

    def work(x):
        return x + 1

    def handle(number, frame):
        found.append(submit(work, 1).result(LIMIT))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        for x in plait.map(work, range(100)):
            if x % 20 == 0:
                os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found == [2] * 5


class Slow:
    """Waits, or computes, wherever it is pickled."""

    def __init__(self, spend=int):
        self.spend = spend

    def __reduce__(self):
        self.spend()
        return Slow, ()


class Clocks:
    """Time that passes where it is said."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def perf_counter(self):
        return self.wall

    def thread_time(self):
        return self.cpu

    def wait(self):
        self.wall += 0.4

    def compute(self):
        self.wall += 0.1
        self.cpu += 0.1


@pytest.mark.parametrize("way", ["wait", "compute"])
def test_pickling_for_a_look_ends_where_it_takes_long(monkeypatch, way):
    clocks = Clocks()
    pickled = []

    def spend():
        pickled.append(1)
        getattr(clocks, way)()

    monkeypatch.setattr(comparing, "time", clocks)
    looked = comparing.Arguments(([Slow(spend) for _ in range(100)],), {})
    known = len(pickled)
    assert known == 3
    assert looked.is_unseen
    assert "too long" in looked.problem
    assert not looked.have_changed()
    assert len(pickled) == known


def test_one_that_takes_long_is_looked_at_once(monkeypatch):
    clocks = Clocks()
    monkeypatch.setattr(comparing, "time", clocks)

    def spend():
        pickled.append(1)
        clocks.wall += 5

    pickled = []
    given = [Slow(spend) for _ in range(20)]
    assert list(plait.map(reveal_nothing, given)) == [None] * 20
    assert len(pickled) == 1
    assert "pickling takes too long" in plait.explain(reveal_nothing).reason
    assert plait.explain(reveal_nothing).decision == "serial"


def reveal_nothing(_):
    return None


def keep_alive(connection):
    return connection.fileno() >= 0


@pytest.fixture
def connected():
    sockets = socket.socketpair()
    yield sockets
    for one in sockets:
        one.close()


@methods
def test_a_look_at_a_socket_hands_it_to_nobody(monkeypatch, connected, method):
    choose(monkeypatch, method)
    handed = []
    monkeypatch.setitem(REGISTERED, socket.socket, handed.append)
    assert list(plait.map(keep_alive, connected * 10)) == [True] * 20
    assert submit(keep_alive, connected[0]).result(LIMIT)
    assert submit(dict, peer=connected[1]).result(LIMIT) == {"peer": connected[1]}
    assert handed == []
    explained = plait.explain(keep_alive)
    assert explained.decision == "serial"
    assert "a look at a socket would hand it to another process" in explained.reason


def test_checksums_of_large_arrays_are_no_time_of_objects(monkeypatch):
    clocks = Clocks()
    monkeypatch.setattr(comparing, "time", clocks)

    def checksum(_):
        clocks.wall += 10
        return 1

    monkeypatch.setattr(comparing, "native", types.SimpleNamespace(checksum=checksum))
    data = [bytearray(1 << 20) for _ in range(4)]
    looked = comparing.Arguments((Slow(), *map(pickle.PickleBuffer, data)), {})
    assert looked.problem is None
