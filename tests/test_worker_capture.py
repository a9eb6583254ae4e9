"""`plait.task(capture=True)`: what one task prints comes with its outcome."""

import asyncio
import ctypes
import os
import subprocess
import sys
import time

import pytest

import plait

LIMIT = 60


@pytest.fixture(scope="module")
def pool():
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


def speak(text):
    print("out", text, flush=True)
    print("error", text, file=sys.stderr)
    return text


captured = plait.task(speak, capture=True)


def test_output_comes_with_the_result(pool):
    future = pool.submit(captured, "one")
    assert future.result(LIMIT) == "one"
    assert future.output == ("out one\n", "error one\n")
    assert future.output.stdout == "out one\n"


def test_only_that_tasks_and_it_is_not_shown(capfd):
    # Made here, where the capture of the test is at work: workers keep the descriptors they got.
    with plait.ProcessPoolExecutor(1) as pool:
        first = pool.submit(captured, "a")
        plain = pool.submit(speak, "b")
        last = pool.submit(captured, "c")
        assert [future.result(LIMIT) for future in (first, plain, last)] == ["a", "b", "c"]
    assert first.output == ("out a\n", "error a\n")
    assert plain.output is None
    assert last.output == ("out c\n", "error c\n")
    assert capfd.readouterr() == ("out b\n", "error b\n")


def test_what_goes_by_the_descriptors(pool):
    @plait.task(capture=True)
    def by_descriptor():
        os.write(1, b"\xff raw\n")
        print("buffered", end="")
        subprocess.run(["sh", "-c", "echo child; echo complaint >&2"], check=True)
        ctypes.CDLL(None).perror(b"from C")

    future = pool.submit(by_descriptor)
    future.result(LIMIT)
    stdout, stderr = future.output
    assert "\ufffd raw\n" in stdout
    assert "buffered" in stdout
    assert "child\n" in stdout
    assert stderr.startswith("complaint\nfrom C: ")


def test_a_task_that_raises(pool):
    @plait.task(capture=True)
    def fail():
        print("before")
        raise ValueError("no")

    future = pool.submit(fail)
    error = future.exception(LIMIT)
    assert isinstance(error, ValueError)
    assert future.output == ("before\n", "")


def standard_streams():
    return [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (1, 2)], os.getpid()


def test_a_task_that_is_stopped_and_the_next(pool):
    @plait.task(capture=True, timeout=0.2, grace=LIMIT)
    def hang():
        print("hanging", flush=True)
        try:
            time.sleep(LIMIT)
        finally:
            print("stopped")

    before = pool.submit(standard_streams).result(LIMIT)
    future = pool.submit(hang)
    with pytest.raises(plait.TaskTimeout):
        future.result(LIMIT)
    assert future.output == ("hanging\nstopped\n", "")
    # The descriptors are the program's again.
    assert pool.submit(standard_streams).result(LIMIT) == before


def test_a_task_that_is_tried_again(pool, tmp_path):
    @plait.task(capture=True, retries=1)
    def second_time(path):
        print("again" if path.exists() else "first")
        if not path.exists():
            path.touch()
            raise OSError

    future = pool.submit(second_time, tmp_path / "mark")
    assert future.result(LIMIT) is None
    assert future.output == ("again\n", "")


def test_a_task_whose_worker_dies(pool):
    @plait.task(capture=True)
    def die():
        print("gone", flush=True)
        os._exit(1)

    future = pool.submit(die)
    assert isinstance(future.exception(LIMIT), plait.WorkerDied)
    assert future.output is None
    future = pool.submit(captured, "next")
    future.result(LIMIT)
    assert future.output == ("out next\n", "error next\n")


def test_a_coroutine_function(pool):
    @plait.task(capture=True)
    async def speak_later():
        await asyncio.sleep(0)
        print("later")
        return 7

    future = pool.submit(speak_later)
    assert future.result(LIMIT) == 7
    assert future.output == ("later\n", "")


def test_much_of_it(pool):
    @plait.task(capture=True)
    def flood():
        for _ in range(300):
            os.write(1, b"x" * 10_000)

    future = pool.submit(flood)
    future.result(LIMIT)
    assert future.output.stdout == "x" * 3_000_000


def test_a_future_that_has_not_ended():
    future = plait.Future()
    assert future.output is None
    future.set_result(1)
    assert future.output is None
