"""`PLAIT_SERIAL=1`: tasks of a process pool run in the caller."""

import asyncio
import concurrent.futures.process
import os
import subprocess
import sys
import textwrap
import threading

import pytest

import plait

LIMIT = 60


@pytest.fixture(autouse=True)
def _serial(monkeypatch):
    monkeypatch.setenv("PLAIT_SERIAL", "1")


def where(*_):
    return os.getpid(), threading.get_ident()


def test_a_call_has_run_when_submit_returns():
    with plait.ProcessPoolExecutor(3) as pool:
        future = pool.submit(where)
        assert isinstance(future, plait.Future)
        assert future.done()
        assert future.result() == where()
        assert not future.cancel()
        argument = object()  # cannot travel, and need not
        assert pool.submit(lambda *, named: named, named=argument).result() is argument


def test_map_in_all_its_forms():
    with plait.ProcessPoolExecutor(2) as pool:
        assert set(pool.map(where, range(5))) == {where()}
        assert list(pool.map(pow, range(5), range(5), chunksize=2)) == [1, 1, 4, 27, 256]
        with pytest.raises(ZeroDivisionError):
            list(pool.map(lambda x: 1 // x, [1, 0]))


def test_an_exception_is_the_very_one():
    error = ValueError("mine")

    def fail():
        raise error

    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(fail).exception() is error
        names = []
        traceback = error.__traceback__
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert names[-1] == "fail"
        assert isinstance(pool.submit(sys.exit).exception(), SystemExit)


def test_an_interrupt_reaches_the_caller():
    def interrupt():
        raise KeyboardInterrupt

    with plait.ProcessPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.submit(interrupt)
        assert pool.submit(abs, -1).result() == 1


def test_the_initializer_runs_once_before_the_first_task():
    calls = []
    with plait.ProcessPoolExecutor(2, initializer=calls.append, initargs=("called",)) as pool:
        assert calls == []
        pool.submit(abs, 1)
        pool.submit(abs, 1)
    assert calls == ["called"]


def test_an_initializer_that_fails_breaks_the_pool():
    with plait.ProcessPoolExecutor(1, initializer=lambda: 1 // 0) as pool:
        error = pool.submit(abs, 1).exception()
        assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
        assert isinstance(error.__cause__, ZeroDivisionError)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            pool.submit(abs, 1)


def test_coroutine_functions_in_and_out_of_a_loop():
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    async def main():
        with plait.ProcessPoolExecutor(1) as pool:
            return await pool.submit(double, 2), await pool.submit(abs, -3)

    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(double, 1).result() == 2
    assert plait.run(main()) == (4, 3)


def test_callbacks_and_waiting():
    heard = []
    with plait.ProcessPoolExecutor(1) as pool:
        futures = [pool.submit(abs, -number) for number in range(3)]
        futures[0].add_done_callback(heard.append)
        done, pending = concurrent.futures.wait(futures)
    assert heard == [futures[0]]
    assert done == set(futures)
    assert not pending


def test_statistics():
    with plait.ProcessPoolExecutor(2) as pool:
        inside = pool.submit(lambda: pool.statistics().running).result()
        pool.submit(sys.exit)
        statistics = pool.statistics()
    assert inside == 1
    assert (statistics.done, statistics.failed, statistics.running) == (1, 1, 0)
    assert statistics.workers == ()


@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_there_are_no_workers_to_end(how):
    pool = plait.ProcessPoolExecutor(1)
    getattr(pool, how)()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


def test_the_pool_of_multiprocessings_kind():
    def fail(number):
        raise ValueError(number)

    with plait.Pool(2) as pool:
        assert pool.apply(where) == where()
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert pool.starmap(pow, [(2, 3)]) == [8]
        assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]
        assert pool.apply_async(abs, (-3,)).get(LIMIT) == 3
        with pytest.raises(ValueError, match="7"):
            pool.map(fail, [7])


def test_after_the_end():
    pool = plait.ProcessPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


@pytest.mark.parametrize("value", ["", "0"])
def test_what_does_not_ask_for_it(value, monkeypatch):
    monkeypatch.setenv("PLAIT_SERIAL", value)
    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(where).result(LIMIT) != where()


def test_a_debugger_stops_in_a_task(tmp_path):
    path = tmp_path / "program.py"
    text = """
        import plait

        def task(secret):
            breakpoint()
            return secret

        with plait.ProcessPoolExecutor(2) as pool:
            print("result", pool.submit(task, 42).result())
    """
    path.write_text(textwrap.dedent(text))
    answer = subprocess.run(
        [sys.executable, str(path)],
        input="p 'seen', secret\ncontinue\n",
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert "('seen', 42)" in answer.stdout
    assert "result 42" in answer.stdout
