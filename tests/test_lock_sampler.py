"""Who holds the interpreter lock, and what a thread waits on, seen by a thread of Rust."""

import gc
import os
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait import _cores
from plait._binding import native

# Shares are told by so many samples at least, however long that takes.
ENOUGH = 60


def seen(call: Callable[[], object], sampler: native.LockSampler | None = None) -> Counter[str]:
    """Call and watch until there are enough samples, and count what they found."""
    sampler = sampler or native.LockSampler()
    counts: Counter[str] = Counter()
    while counts["samples"] < ENOUGH:
        assert sampler.begin()
        try:
            call()
        finally:
            samples, held, waits = sampler.end()
        counts.update(waits)
        counts.update({"samples": samples, "held": held})
    return counts


@contextmanager
def again_and_again(call: Callable[[], object]) -> Iterator[None]:
    """Call every few milliseconds, in another thread, what ends the wait of this one."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.005):
            call()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def waited_on(counts: Counter[str]) -> str:
    """Return what was waited on most."""
    waits = {word: count for word, count in counts.items() if word not in ("samples", "held")}
    assert sum(waits.values()) + counts["held"] <= counts["samples"]
    assert counts["held"] < counts["samples"] / 2
    return max(waits, key=lambda word: waits[word])


def compute() -> int:
    return sum(number * number for number in range(20_000))


def test_python_code_holds_the_lock() -> None:
    counts = seen(compute)
    assert counts["held"] > 0.9 * counts["samples"]


def test_compression_does_not_hold_it() -> None:
    data = os.urandom(1 << 20)
    counts = seen(lambda: zlib.compress(data))
    assert counts["held"] < 0.2 * counts["samples"]


def test_who_sleeps() -> None:
    counts = seen(lambda: time.sleep(0.005))
    assert waited_on(counts) == "sleep"
    assert counts["held"] < 0.1 * counts["samples"]


def test_who_receives() -> None:
    here, there = socket.socketpair()
    with here, there, again_and_again(lambda: there.send(b"x")):
        assert waited_on(seen(lambda: here.recv(1))) == "socket"
        here.settimeout(60)
        assert waited_on(seen(lambda: here.recv(1))) == "socket"


def test_who_reads_a_pipe() -> None:
    reader, writer = os.pipe()
    with again_and_again(lambda: os.write(writer, b"x")):
        assert waited_on(seen(lambda: os.read(reader, 1))) == "pipe"

        def choose() -> None:
            select.select([reader], [], [], 60)
            os.read(reader, 1)

        assert waited_on(seen(choose)) == "pipe"
    os.close(reader)
    os.close(writer)


def test_who_waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    with again_and_again(lambda: lock.locked() and lock.release()):
        assert waited_on(seen(lambda: lock.acquire(timeout=60))) == "lock"


def test_who_waits_for_a_process() -> None:
    def call() -> None:
        child = subprocess.Popen(["sleep", "0.05"])
        assert sampler.begin()
        child.wait()
        samples, held, waits = sampler.end()
        counts.update({**waits, "samples": samples, "held": held})

    sampler = native.LockSampler()
    counts: Counter[str] = Counter()
    while counts["samples"] < ENOUGH:
        call()
    assert waited_on(counts) == "process"


@pytest.mark.parametrize("runner", ["asyncio.run", "plait.run"])
def test_a_loop_that_only_waits_sleeps(runner: str) -> None:
    code = """
        import asyncio, collections, plait
        from plait._binding import native
        sampler, counts = native.LockSampler(), collections.Counter()
        async def main():
            while counts["samples"] < 60:
                await asyncio.sleep(0)
                sampler.begin()
                await asyncio.sleep(0.01)
                samples, held, waits = sampler.end()
                counts.update(samples=samples, **waits)
        RUNNER(main())
        del counts["samples"]
        print(counts.most_common(1)[0][0])
    """
    assert output_of(code.replace("RUNNER", runner)) == "sleep"


def test_who_waits_for_the_interpreter_waits_on_nothing() -> None:
    over = threading.Event()

    def compete() -> None:
        while not over.is_set():
            compute()

    thread = threading.Thread(target=compete)
    thread.start()
    try:
        counts = seen(compute)
        while not 0 < counts["held"] < counts["samples"]:
            counts += seen(compute)
    finally:
        over.set()
        thread.join()
    assert counts["lock"] <= 0.1 * counts["samples"]


def test_one_watch_at_a_time() -> None:
    sampler = native.LockSampler()
    with pytest.raises(RuntimeError, match=r"no thread is watched: call begin\(\) first"):
        sampler.end()
    assert sampler.begin()
    assert not sampler.begin()
    samples, held, waits = sampler.end()
    assert held + sum(waits.values()) <= samples
    with pytest.raises(RuntimeError, match="no thread is watched"):
        sampler.end()


def test_a_watch_can_be_read_while_it_goes_on() -> None:
    sampler = native.LockSampler(steady=True)
    with pytest.raises(RuntimeError, match="no thread is watched"):
        sampler.so_far()
    assert sampler.begin()
    before = 0
    while before < ENOUGH:
        compute()
        samples, held, _ = sampler.so_far()
        assert before <= held <= samples
        before = held
    assert sampler.end()[1] >= before


def test_a_watch_can_be_ended_by_another_thread() -> None:
    sampler = native.LockSampler()
    counts: Counter[str] = Counter()
    while counts["samples"] < ENOUGH:
        began, done = threading.Event(), threading.Event()

        def wait(began: threading.Event = began, done: threading.Event = done) -> None:
            assert sampler.begin()
            began.set()
            done.wait()

        thread = threading.Thread(target=wait)
        thread.start()
        began.wait()
        time.sleep(0.005)
        samples, held, waits = sampler.end()
        counts.update({**waits, "samples": samples, "held": held})
        done.set()
        thread.join()
    assert waited_on(counts) == "lock"


def test_a_thread_that_ended_under_watch() -> None:
    sampler = native.LockSampler()
    for _ in range(20):
        thread = threading.Thread(target=sampler.begin)
        thread.start()
        thread.join()
        assert not sampler.begin()
        sampler.end()
    assert seen(compute, sampler)["held"] > 0


def test_two_samplers_see_the_same() -> None:
    outer, inner = native.LockSampler(), native.LockSampler(0.0001)
    held = 0
    while not held:
        assert outer.begin()
        assert seen(compute, inner)["held"] > 0
        samples, held, _ = outer.end()
        assert held <= samples


@pytest.mark.skipif(_cores.usable() == 1, reason="the sampler needs a core of its own")
def test_it_counts_how_often_the_lock_is_let_go_of() -> None:
    sampler = native.LockSampler()
    assert sampler.released() == (0, 0.0)
    released, closely = 0, 0.0
    while not released:
        assert sampler.begin()
        for _ in range(2_000):
            os.getppid()
            time.sleep(0)
        released, closely = sampler.released()
        sampler.end()
    assert closely > 0
    assert sampler.released() == (0, 0.0)


@pytest.mark.parametrize("period", [0, -1, float("nan"), float("inf"), 1e30])
def test_periods_that_are_none(period: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        native.LockSampler(period)


def threads_of_samplers() -> int:
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text())
        except OSError:
            continue
    return names.count("plait-sample\n")


def test_a_sampler_that_is_dropped_takes_its_thread_along() -> None:
    gc.collect()
    # `plait.measure` keeps one, whoever has called it before.
    kept = threads_of_samplers()
    samplers = [native.LockSampler() for _ in range(5)]
    for sampler in samplers:
        sampler.begin()
    while threads_of_samplers() < kept + 5:
        pass
    del sampler
    samplers.clear()
    while threads_of_samplers() > kept:
        gc.collect()


def test_threads_that_fight_for_one_sampler() -> None:
    sampler = native.LockSampler(0.00005)
    over = threading.Event()
    failures: list[BaseException] = []
    watches: Counter[bool] = Counter()

    def work() -> None:
        try:
            while not over.is_set():
                began = sampler.begin()
                compute()
                if began:
                    samples, held, waits = sampler.end()
                    assert held + sum(waits.values()) <= samples
                watches[began] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while not failures and min(watches[True], watches[False]) < 50:
        time.sleep(0.001)
    over.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert sampler.begin()
    sampler.end()


def output_of(code: str, *options: str) -> str:
    """Run a program, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


FORK = """
    import os, plait
    from plait._binding import native

    def held(sampler):
        while True:
            assert sampler.begin()
            sum(range(20_000))
            found = sampler.end()
            if found[1]:
                return found

    used, fresh, watching = native.LockSampler(), native.LockSampler(), native.LockSampler()
    held(used)
    watching.begin()
    child = os.fork()
    if not child:
        assert watching.end() == (0, 0, {})
        for sampler in (used, fresh, watching, native.LockSampler()):
            held(sampler)
        if not os.fork():
            held(used)
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    before = watching.so_far()[1]
    while watching.so_far()[1] == before:
        sum(range(20_000))
    watching.end()
    for sampler in (used, fresh, watching):
        held(sampler)
    print("fine")
"""


def test_forks_warn_of_nothing_and_children_watch_too() -> None:
    assert output_of(FORK, "-W", "error::DeprecationWarning") == "fine"


def test_it_is_found_in_any_thread_beside_others_and_at_any_interval() -> None:
    code = """
        import sys, threading, plait
        from plait._binding import native
        sys.setswitchinterval(0.00123)
        over = threading.Event()
        def compete():
            while not over.is_set():
                sum(range(1000))
        def make():
            sampler = native.LockSampler()
            while True:
                sampler.begin()
                sum(range(20_000))
                if sampler.end()[1]:
                    return found.append(sampler)
        found = []
        competitors = [threading.Thread(target=compete) for _ in range(3)]
        makers = [threading.Thread(target=make) for _ in range(3)]
        for thread in (*competitors, *makers):
            thread.start()
        for thread in makers:
            thread.join()
        over.set()
        print(len(found))
    """
    assert output_of(code) == "3"


def test_an_interpreter_exits_while_a_thread_is_watched() -> None:
    code = """
        import plait
        from plait._binding import native
        sampler = native.LockSampler()
        sampler.begin()
        print("fine")
    """
    assert output_of(code) == "fine"
