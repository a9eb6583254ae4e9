"""Callbacks, from the loop's thread and from others, and the executor."""

import asyncio
import threading
import time
from collections.abc import Callable

from loop.micro.watch import Watch
from loop.peers import Factory

# How many callbacks wait at once in the programs that put in many.
BULK = 10_000


def countdown(count: int, done: asyncio.Future[None]) -> Callable[[], None]:
    """Make a callback that completes a future when it has been called so often."""

    def step() -> None:
        nonlocal count
        count -= 1
        if not count:
            done.set_result(None)

    return step


def nothing(*arguments: object) -> None:
    """Be called."""


async def itself(count: int, watch: Watch) -> None:
    """Run a callback that schedules itself."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def step() -> None:
        nonlocal count
        count -= 1
        if count:
            loop.call_soon(step)
        else:
            done.set_result(None)

    with watch.running():
        loop.call_soon(step)
        await done


async def bulk(count: int, watch: Watch) -> None:
    """Schedule many callbacks without arguments."""
    loop = asyncio.get_running_loop()
    while count > 0:
        some = min(count, BULK)
        done = loop.create_future()
        with watch.running():
            for _ in range(some - 1):
                loop.call_soon(nothing)
            loop.call_soon(done.set_result, None)
            await done
        count -= some


async def bulk_arguments(count: int, watch: Watch) -> None:
    """Schedule many callbacks with three arguments."""
    loop = asyncio.get_running_loop()
    while count > 0:
        some = min(count, BULK)
        done = loop.create_future()
        with watch.running():
            for number in range(some - 1):
                loop.call_soon(nothing, number, "two", None)
            loop.call_soon(done.set_result, None)
            await done
        count -= some


async def threadsafe(count: int, watch: Watch) -> None:
    """Schedule callbacks from another thread as fast as it goes."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    step = countdown(count, done)

    def other() -> None:
        for _ in range(count):
            loop.call_soon_threadsafe(step)

    thread = threading.Thread(target=other)
    with watch.running():
        thread.start()
        await done
    thread.join()


async def wake_up(count: int, watch: Watch) -> None:
    """Wake a sleeping loop from another thread: from the call to the callback."""
    loop = asyncio.get_running_loop()
    called = threading.Event()
    begun = 0.0
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        watch.wall += time.perf_counter() - begun
        left -= 1
        called.set()
        if not left:
            done.set_result(None)

    def other() -> None:
        nonlocal begun
        for _ in range(count):
            # Long enough for the loop to have gone to sleep.
            time.sleep(0.0005)
            called.clear()
            begun = time.perf_counter()
            loop.call_soon_threadsafe(step)
            called.wait()

    thread = threading.Thread(target=other)
    cpu = time.process_time()
    thread.start()
    await done
    thread.join()
    watch.cpu += time.process_time() - cpu


async def executor(count: int, watch: Watch) -> None:
    """Hand a call to the default executor and await it, one after another."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, nothing)
    with watch.running():
        for _ in range(count):
            await loop.run_in_executor(None, nothing)


def new_loop(make: Factory, count: int, watch: Watch) -> None:
    """Create loops and close them."""
    make().close()
    with watch.running():
        for _ in range(count):
            make().close()
