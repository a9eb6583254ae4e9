"""The first calls beside a loop: a few at once, until it is known where they belong."""

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from choosing import choose

import plait
from plait._auto import gate
from plait._auto.effects import Effect
from plait._auto.record import Record
from plait._auto.records import record_of

LIMIT = 60
NEVER = 3600.0
FEW = Record(lambda: None).gate._few
MANY = 4 * FEW

meeting = threading.Barrier(FEW)


@plait.task(parallel_safe=True)
def where(submitter):
    """Tell where it is called; the first few here are all there before one ends."""
    if os.getpid() == submitter:
        meeting.wait(LIMIT)
    return os.getpid()


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Have every function be unknown, and nothing happen for want of an end."""
    monkeypatch.setattr("plait._auto.records._records", {})
    monkeypatch.setattr("plait._auto.records._by_code", {})
    monkeypatch.setattr(gate, "_PATIENCE", NEVER)


@pytest.fixture
def undecided(monkeypatch):
    """Have no number of calls be enough to decide by."""
    monkeypatch.setattr(Record, "knows_enough", lambda self: False)


class Calls:
    """Counts how many calls run at once, and holds them as long as the test wants."""

    def __init__(self):
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.begun = threading.Semaphore(0)
        self.running = self.most = 0
        self.made = []

    def __call__(self, number):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.made.append(number)
        self.begun.release()
        assert self.go.wait(LIMIT)
        with self.lock:
            self.running -= 1
        return number

    def wait_for(self, count):
        """Wait until so many have begun."""
        for _ in range(count):
            assert self.begun.acquire(timeout=LIMIT)

    def submit(self, count):
        """Submit so many calls; return their futures."""
        fn = plait.task(lambda number: self(number), parallel_safe=True)
        return [plait.submit(fn, n, on="auto") for n in range(count)]


def test_a_few_are_made_at_once(undecided):
    calls = Calls()

    async def main():
        futures = calls.submit(MANY)
        calls.go.set()
        assert await asyncio.gather(*futures) == list(range(MANY))
        assert calls.most <= FEW
        assert sorted(calls.made) == list(range(MANY))

    plait.run(main())


def test_those_that_wait_go_where_they_belong_once_that_is_known(monkeypatch):
    choose(monkeypatch, "process")
    monkeypatch.setattr(Record, "knows_enough", lambda self: True)

    async def main():
        futures = [plait.submit(where, os.getpid(), on="auto") for _ in range(MANY)]
        assert (await asyncio.gather(*futures)).count(os.getpid()) == FEW

    plait.run(main())


def test_more_are_made_where_calls_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(gate, "_PATIENCE", 0.01)

    async def main():
        barrier = threading.Barrier(2 * FEW + 1)
        meet = plait.task(lambda: barrier.wait(LIMIT), parallel_safe=True)
        futures = [plait.submit(meet, on="auto") for _ in range(barrier.parties)]
        assert sorted(await asyncio.gather(*futures)) == list(range(barrier.parties))

    plait.run(main())


def test_one_is_withdrawn_while_it_waits(undecided):
    calls = Calls()

    async def main():
        futures = calls.submit(MANY)
        # The first few have begun, or will.
        for future in futures[FEW:-1]:
            assert future.cancel()
        calls.go.set()
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert outcomes[:FEW] == list(range(FEW))
        assert {type(each) for each in outcomes[FEW:-1]} == {concurrent.futures.CancelledError}
        assert outcomes[-1] == MANY - 1
        assert sorted(calls.made) == [*range(FEW), MANY - 1]

    plait.run(main())


def test_what_was_found_to_have_an_effect_goes_on_one_by_one(monkeypatch, undecided):
    calls = Calls()

    fn = lambda number: calls(number)  # noqa: E731
    record = record_of(fn)[0]
    # Nobody but a call's own look at its arguments knows of it.
    monkeypatch.setattr(Record, "effect_on", lambda self, args, kwargs: self.found)
    assert record.analysis

    async def main():
        futures = [plait.submit(fn, n, on="auto") for n in range(MANY)]
        calls.wait_for(FEW)
        record.found = Effect("changes its arguments")
        calls.go.set()
        assert await asyncio.gather(*futures) == list(range(MANY))
        assert calls.made[FEW:] == list(range(FEW, MANY))

    plait.run(main())


def test_what_goes_wrong_at_the_start_is_told(monkeypatch, undecided):
    calls = Calls()

    async def main():
        futures = calls.submit(MANY)

        def full(*args, **kwargs):
            raise OSError("full")

        monkeypatch.setattr("plait._auto.calling._threaded", full)
        calls.go.set()
        outcomes = await asyncio.gather(*futures, return_exceptions=True)
        assert outcomes[:FEW] == list(range(FEW))
        assert all(isinstance(each, OSError) for each in outcomes[FEW:])

    plait.run(main())


def test_a_loop_that_is_closed_has_no_timer(monkeypatch):
    closed = asyncio.new_event_loop()
    closed.close()
    doors = gate.Gate(lambda: False)
    firsts = [plait.Future() for _ in range(FEW)]
    for first in firsts:
        assert doors.enter()
        assert doors.made(lambda first=first: first) is first
    done = plait.Future()
    done.set_result("made")

    def wait(loop):
        assert not doors.enter()
        return doors.wait(loop, "told", lambda: done, lambda: done)

    waiting = wait(closed)
    assert not waiting.done()
    # An end makes the next call.
    firsts[0].set_result(None)
    assert waiting.result(LIMIT) == "made"
    assert doors.enter()
    monkeypatch.setattr(gate, "_PATIENCE", 0.001)

    async def main():
        # There is a timer again: none of those under way ends.
        assert await wait(asyncio.get_running_loop()) == "made"

    plait.run(main())


SCRIPT = """
    import os, threading, plait
    from plait._auto import gate

    gate._PATIENCE = 3600.0
    go = threading.Event()

    @plait.task(parallel_safe=True)
    def told(number):
        go.wait()
        os.write(1, f"{number}\\n".encode())

    async def main():
        for number in range(100):
            plait.submit(told, number, on="auto")

    def release():
        os.read(0, 1)
        go.set()

    threading.Thread(target=release, daemon=True).start()
    plait.run(main())
    os.write(1, b"leaving\\n")
"""


def test_the_exit_waits_for_those_that_wait():
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        # None has ended when the program does.
        assert child.stdout.readline() == "leaving\n"
        out, err = child.communicate("x", timeout=LIMIT)
    assert (child.returncode, err) == (0, "")
    assert sorted(map(int, out.split())) == list(range(100))


TO_PROCESSES = """
    import os, sys, plait
    from plait._auto import gate, record
    from plait._auto.deciding import Decision

    gate._PATIENCE = 3600.0
    record.Record.knows_enough = lambda self: True
    record.decided = lambda *_, **__: Decision("process", 2, 1, "the test says so", ())
    home, path = os.getpid(), sys.argv[1]

    @plait.task(parallel_safe=True)
    def told(number):
        if os.getpid() == home:
            os.read(0, 1)
        with open(path, "a") as file:
            file.write(f"{number} {os.getpid() == home}\\n")

    async def main():
        for number in range(40):
            plait.submit(told, number, on="auto")

    plait.run(main())
    os.write(1, b"leaving\\n")
"""


def test_the_exit_waits_for_those_that_go_on_to_processes(tmp_path):
    path = tmp_path / "told"
    command = [sys.executable, "-c", textwrap.dedent(TO_PROCESSES), str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        # The few that are made here have not ended when the program does.
        assert child.stdout.readline() == "leaving\n"
        out, err = child.communicate("x" * FEW, timeout=LIMIT)
    assert (child.returncode, out, err) == (0, "", "")
    told = dict(line.split() for line in path.read_text().splitlines())
    assert sorted(map(int, told)) == list(range(40))
    assert [told[str(number)] for number in range(FEW)] == ["True"] * FEW
    assert list(told.values()).count("False") == 40 - FEW
