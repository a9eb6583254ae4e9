"""plait.Future in coroutines, on asyncio's own loop and on plait's."""

import asyncio
import concurrent.futures as cf
import gc
import threading
import weakref

import pytest

import plait

LIMIT = 30.0


class Boom(Exception):
    pass


@pytest.fixture(params=[asyncio.run, plait.run], ids=["asyncio", "plait"])
def run(request):
    """Run a coroutine on a new loop."""
    return request.param


async def wait_for(future):
    return await future


async def waiting_for(future):
    """A task that waits for `future`."""
    task = asyncio.ensure_future(wait_for(future))
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_returns_or_raises_at_once_if_it_has_ended(run):
    async def main():
        good, bad, gone = plait.Future(), plait.Future(), plait.Future()
        good.set_result(1)
        bad.set_exception(Boom())
        gone.cancel()
        ended = []
        asyncio.get_running_loop().call_soon(ended.append, "the loop has turned")
        assert await good == 1
        with pytest.raises(Boom):
            await bad
        with pytest.raises(cf.CancelledError):
            await gone
        assert ended == []

    run(main())


@pytest.mark.parametrize("end", ["set_result", "set_exception", "cancel"])
def test_is_woken_from_another_thread(end, run):
    async def main():
        future = plait.Future()
        task = await waiting_for(future)
        arguments = {"set_result": [1], "set_exception": [Boom()], "cancel": []}[end]
        threading.Thread(target=getattr(future, end), args=arguments).start()
        if end == "set_result":
            assert await task == 1
        elif end == "set_exception":
            with pytest.raises(Boom):
                await task
        else:
            # Never asyncio's: this task was not cancelled, its future was.
            with pytest.raises(cf.CancelledError):
                await task
            assert not task.cancelled()

    run(main())


def test_a_cancelled_future_is_an_error_for_a_task_group(run):
    async def main():
        future = plait.Future()

        async def group():
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for(future))
                await asyncio.sleep(0)
                future.cancel()

        with pytest.raises(ExceptionGroup) as raised:
            await group()
        assert [type(error) for error in raised.value.exceptions] == [cf.CancelledError]

    run(main())


def test_cancelling_the_task_withdraws_what_has_not_begun(run):
    async def main():
        future = plait.Future()
        task = await waiting_for(future)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()

    run(main())


def test_cancelling_the_task_lets_go_on_what_has_begun(run):
    async def main():
        future = plait.Future()
        future.set_running_or_notify_cancel()
        task = await waiting_for(future)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.running()
        future.set_result(1)
        assert await future == 1

    run(main())


def test_many_given_up_waits_leave_nothing_behind(run):
    async def main():
        future = plait.Future()
        future.set_running_or_notify_cancel()
        loop = asyncio.get_running_loop()
        made, create = [], loop.create_future

        def create_future():
            waiter = create()
            made.append(weakref.ref(waiter))
            return waiter

        loop.create_future = create_future
        for _ in range(100):
            task = await waiting_for(future)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        del loop.create_future, task
        # The loop's handle of this very turn still refers to the last task.
        await asyncio.sleep(0)
        gc.collect()
        assert len(made) == 100
        assert sum(waiter() is not None for waiter in made) == 0

    run(main())


def test_gather_wait_for_timeout_and_shield(run):
    async def main():
        futures = [plait.Future() for _ in range(3)]
        thread = threading.Thread(target=lambda: [f.set_result(n) for n, f in enumerate(futures)])
        gathered = asyncio.gather(*futures)
        thread.start()
        assert await gathered == [0, 1, 2]

        slow = plait.Future()
        slow.set_running_or_notify_cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await slow
        pending = plait.Future()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(pending), 0.001)
        assert not pending.cancelled()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pending, 0.001)
        assert pending.cancelled()
        slow.set_result("slow")
        assert await asyncio.wait_for(slow, LIMIT) == "slow"

    run(main())


def test_wrap_future_both_ways(run):
    async def main():
        future = plait.Future()
        wrapped = asyncio.wrap_future(future)
        assert asyncio.isfuture(wrapped)
        threading.Thread(target=future.set_result, args=(1,)).start()
        done, _ = await asyncio.wait([wrapped], timeout=LIMIT)
        assert done == {wrapped}
        assert wrapped.result() == 1

        future = plait.Future()
        wrapped = asyncio.wrap_future(future)
        wrapped.cancel()
        await asyncio.sleep(0)
        assert future.cancelled()

        future = plait.Future()
        wrapped = asyncio.wrap_future(future)
        threading.Thread(target=future.cancel).start()
        with pytest.raises(asyncio.CancelledError):
            await wrapped

    run(main())


def test_several_tasks_wait_for_one(run):
    async def main():
        future = plait.Future()
        tasks = [await waiting_for(future) for _ in range(5)]
        future.set_result(1)
        assert await asyncio.gather(*tasks) == [1] * 5

    run(main())


def test_several_loops_wait_for_one(run):
    future, answers = plait.Future(), []
    ready = threading.Barrier(4)

    async def main():
        task = await waiting_for(future)
        ready.wait(LIMIT)
        answers.append(await asyncio.wait_for(task, LIMIT))

    threads = [threading.Thread(target=run, args=(main(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait(LIMIT)
    future.set_result("all")
    for thread in threads:
        thread.join()
    assert answers == ["all"] * 3


def test_a_result_and_a_cancellation_of_the_task_in_one_turn(run):
    async def main():
        future = plait.Future()
        task = await waiting_for(future)
        future.set_result(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.result() == 1

    run(main())


def test_a_coroutine_that_is_thrown_away_lets_go():
    future = plait.Future()
    loop = asyncio.new_event_loop()
    try:
        coroutine = wait_for(future)

        async def main():
            coroutine.send(None)

        loop.run_until_complete(main())
        coroutine.close()
    finally:
        loop.close()
    assert not future.cancelled()
    future.set_result(1)


def test_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        wait_for(plait.Future()).send(None)


def test_a_raised_exception_does_not_keep_the_future(run):
    async def main():
        future = plait.Future()
        future.set_exception(Boom())
        reference = weakref.ref(future)
        try:
            await future
        except Boom as error:
            kept = error
        assert kept.__traceback__ is not None
        frame = kept.__traceback__
        while frame.tb_next is not None:
            frame = frame.tb_next
        assert "self" not in frame.tb_frame.f_locals
        del future, frame
        return reference, kept

    gc.disable()
    try:
        reference, _kept = run(main())
        _kept.__traceback__ = None
        assert reference() is None
    finally:
        gc.enable()
