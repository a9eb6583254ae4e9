"""A coroutine on plait's loop is woken by a native thread without another Python thread."""

import asyncio
import concurrent.futures
import gc
import threading
import time
import weakref
from typing import Any

import pytest
from forked import run as run_forking

import plait
from plait import _notifier
from plait._binding import native

LIMIT = 30.0

finish_elsewhere: Any = native._finish_elsewhere  # type: ignore[attr-defined]
new_future: Any = native._new_future  # type: ignore[attr-defined]


async def value_of(future):
    return await future


def futures(count):
    made = [new_future() for _ in range(count)]
    for future in made:
        future.set_running_or_notify_cancel()
    return made


def test_the_notifier_is_not_asked(monkeypatch):
    """What it is given waits until the end: nothing is."""
    stop = threading.Event()
    busy = plait.Future()
    entered = threading.Event()

    def hold(_):
        entered.set()
        assert stop.wait(LIMIT)

    async def main():
        waited_for = futures(50)
        tasks = [asyncio.ensure_future(value_of(future)) for future in waited_for]
        await asyncio.sleep(0)
        finish_elsewhere(waited_for, lambda: "native")
        return await asyncio.wait_for(asyncio.gather(*tasks), LIMIT)

    # The notifier's thread sits in a callback all the while.
    busy = new_future()
    busy.add_done_callback(hold)
    finish_elsewhere([busy], lambda: None)
    assert entered.wait(LIMIT)
    try:
        assert plait.run(main()) == ["native"] * 50
    finally:
        stop.set()
        _notifier.flush()


def test_a_loop_that_is_busy_looks_too():
    async def main():
        (future,) = futures(1)
        loop = asyncio.get_running_loop()
        turning = True

        def turn():
            if turning:
                loop.call_soon(turn)

        turn()
        finish_elsewhere([future], lambda: 1)
        try:
            return await asyncio.wait_for(value_of(future), LIMIT)
        finally:
            turning = False

    assert plait.run(main()) == 1


def test_an_idle_loop_is_woken_each_time():
    async def main():
        for number in range(2_000):
            (future,) = futures(1)
            finish_elsewhere([future], lambda number=number: number)
            assert await asyncio.wait_for(future, LIMIT) == number

    plait.run(main())


def test_many_tasks_are_cancelled_while_their_futures_end():
    async def main():
        ended = 0
        for _ in range(20):
            waited_for = futures(100)
            tasks = [asyncio.ensure_future(value_of(future)) for future in waited_for]
            await asyncio.sleep(0)
            finish_elsewhere(waited_for, lambda: 1)
            for task in tasks[::2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert results[1::2] == [1] * 50
            assert all(
                result == 1 or isinstance(result, asyncio.CancelledError) for result in results[::2]
            )
            ended += len(results)
        return ended

    assert plait.run(main()) == 2_000


@pytest.mark.parametrize("closes", [True, False])
def test_a_loop_that_is_gone_is_no_trouble(closes):
    (future,) = futures(1)
    loop = plait.new_event_loop()
    task = loop.create_task(value_of(future))
    loop.run_until_complete(asyncio.sleep(0))
    if closes:
        loop.close()
    reference = weakref.ref(loop)
    finish_elsewhere([future], lambda: 1)
    assert future.result(LIMIT) == 1
    _notifier.flush()
    if not closes:
        assert loop.run_until_complete(asyncio.wait_for(task, LIMIT)) == 1
        loop.close()
    else:
        # Never run again: its coroutine is thrown away with it.
        task.get_coro().close()
        task._log_destroy_pending = False
    del loop, task, future
    gc.collect()
    assert reference() is None


def test_letters_keep_a_loop_alive_and_another_loop_from_waiting():
    (future,) = futures(1)
    loop = plait.new_event_loop()
    try:
        task = loop.create_task(value_of(future))
        while loop.is_alive():
            loop.turn(0)
        assert loop.backend_timeout() is None
        finish_elsewhere([future], lambda: 1)
        deadline = time.monotonic() + LIMIT
        while not loop.is_alive():
            assert time.monotonic() < deadline
        assert loop.backend_timeout() == 0
        while loop.is_alive():
            loop.turn(0)
        assert task.result() == 1
    finally:
        loop.close()


def test_fork():
    run_forking("""
    from plait._binding import native

    async def main(finish):
        future = plait.Future()
        task = asyncio.ensure_future(value_of(future))
        await asyncio.sleep(0)
        return future, task

    async def value_of(future):
        return await future

    loop = plait.new_event_loop()
    future, task = loop.run_until_complete(main(False))

    def in_the_child():
        # The loop is the parent's: nobody is woken here, and nothing is touched.
        try:
            future.set_result("child")
        except RuntimeError as error:
            assert "made in process" in str(error), error
        assert future.result() == "child"
        assert not task.done()
        again = plait.new_event_loop()
        future2, task2 = again.run_until_complete(main(True))
        future2.set_result("new")
        assert again.run_until_complete(task2) == "new"
        again.close()

    assert in_child(in_the_child) == 0
    future.set_result("parent")
    assert loop.run_until_complete(task) == "parent"
    loop.close()
    """)


# ---- run_in_executor: a future of the loop that stands for one of a pool


class Handing(concurrent.futures.Executor):
    """Hands out the futures that it is given."""

    def __init__(self, *given):
        self.given = list(given)

    def submit(self, fn, /, *args, **kwargs):
        return self.given.pop(0)


def in_executor(future):
    return asyncio.get_running_loop().run_in_executor(Handing(future), print)


@pytest.mark.parametrize("already", [True, False])
def test_an_executors_future_brings_its_outcome(already):
    class Boom(Exception):
        pass

    async def main():
        ended = [
            (lambda future: future.set_result([1]), [1]),
            (lambda future: future.set_exception(Boom("x")), Boom),
            (lambda future: future.set_exception(TimeoutError("x")), TimeoutError),
            # As asyncio.wrap_future has it.
            (
                lambda future: future.set_exception(concurrent.futures.CancelledError()),
                asyncio.CancelledError,
            ),
            (lambda future: future.cancel(), asyncio.CancelledError),
        ]
        for end, expected in ended:
            future = plait.Future()
            if already:
                end(future)
                wrapped = in_executor(future)
            else:
                wrapped = in_executor(future)
                assert isinstance(wrapped, asyncio.Future)
                assert not wrapped.done()
                thread = threading.Thread(target=end, args=(future,))
                thread.start()
            done, _ = await asyncio.wait([wrapped], timeout=LIMIT)
            assert done == {wrapped}
            if isinstance(expected, list):
                assert wrapped.result() == expected
            elif expected is asyncio.CancelledError and not wrapped.cancelled():
                assert type(wrapped.exception()) is asyncio.CancelledError
            elif expected is asyncio.CancelledError:
                assert wrapped.cancelled()
            else:
                assert type(wrapped.exception()) is expected

    plait.run(main())


def test_cancelling_what_an_executor_gave_withdraws_the_task():
    async def main():
        future = plait.Future()
        wrapped = in_executor(future)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrapped, 0.001)
        assert wrapped.cancelled()
        assert future.cancelled()

        running = plait.Future()
        running.set_running_or_notify_cancel()
        wrapped = in_executor(running)
        wrapped.cancel()
        await asyncio.sleep(0)
        assert running.running()
        running.set_result(1)
        await asyncio.sleep(0)
        assert wrapped.cancelled()

    plait.run(main())


def test_nothing_of_a_wrapped_future_stays():
    async def main():
        references = []
        for end in [True, False]:
            future = plait.Future()
            wrapped = in_executor(future)
            references += [weakref.ref(future), weakref.ref(wrapped)]
            if end:
                threading.Thread(target=future.set_result, args=(1,)).start()
                assert await wrapped == 1
        del future, wrapped
        await asyncio.sleep(0)
        gc.collect()
        assert [reference() for reference in references] == [None] * 4

    plait.run(main())


def test_the_pools_in_run_in_executor():
    async def main():
        loop = asyncio.get_running_loop()
        with plait.ProcessPoolExecutor(1) as processes, plait.ThreadPoolExecutor(2) as threads:
            for pool in (processes, threads):
                calls = [loop.run_in_executor(pool, pow, number, 2) for number in range(100)]
                assert await asyncio.gather(*calls) == [number**2 for number in range(100)]
                with pytest.raises(ZeroDivisionError):
                    await loop.run_in_executor(pool, divmod, 1, 0)

    plait.run(main())
