"""`shutdown_default_executor`, with and without a limit of time, and threads that do not end."""

import asyncio
import sys
import threading

import pytest

import plait

LIMIT = 30


def needs_timeout(loop):
    if sys.version_info < (3, 13) and not isinstance(loop, plait.EventLoop):
        pytest.skip("asyncio takes no timeout on 3.11, and 3.12.1 does not keep it")


@pytest.mark.parametrize(
    "shut_down",
    [
        lambda loop, seconds: loop.shutdown_default_executor(seconds),
        lambda loop, seconds: loop.shutdown_default_executor(timeout=seconds),
    ],
    ids=["by place", "by name"],
)
def test_a_stuck_thread_is_left_behind(loop, shut_down):
    """The call ends in time with a warning; what ran ends when it does, and its result arrives."""
    needs_timeout(loop)
    begun, release = threading.Event(), threading.Event()

    def stuck():
        begun.set()
        assert release.wait(LIMIT)
        return "late"

    async def main():
        future = loop.run_in_executor(None, stuck)
        assert begun.wait(LIMIT)
        try:
            with pytest.warns(RuntimeWarning, match=r"its threads within 0\.01 seconds"):
                await shut_down(loop, 0.01)
            assert not future.done()
            with pytest.raises(RuntimeError, match="shutdown"):
                loop.run_in_executor(None, print)
        finally:
            release.set()
        async with asyncio.timeout(LIMIT):
            assert await future == "late"

    before = set(threading.enumerate())
    loop.run_until_complete(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)


@pytest.mark.parametrize("timeout", [None, LIMIT])
def test_without_a_limit_or_within_it_threads_are_waited_for(loop, timeout):
    if timeout is not None:
        needs_timeout(loop)
    release, ended = threading.Event(), []

    def work():
        assert release.wait(LIMIT)
        ended.append(True)

    async def main():
        future = loop.run_in_executor(None, work)
        options = {} if timeout is None else {"timeout": timeout}
        closing = asyncio.ensure_future(loop.shutdown_default_executor(**options))
        await asyncio.sleep(0)
        assert not closing.done()
        release.set()
        await closing
        assert ended == [True]
        assert future.done()
        with pytest.raises(RuntimeError, match="shutdown"):
            loop.run_in_executor(None, print)
        await future

    loop.run_until_complete(main())


def test_an_executor_that_was_never_used(loop):
    loop.run_until_complete(loop.shutdown_default_executor())

    async def late():
        with pytest.raises(RuntimeError, match="shutdown"):
            loop.run_in_executor(None, print)

    loop.run_until_complete(late())
