"""Tasks: what asyncio's own code costs on a loop."""

import asyncio

from loop.micro.watch import Watch

HUNDRED = 100
THOUSAND = 1_000


async def nothing() -> None:
    """Be awaited."""


async def sleep_one(count: int, watch: Watch) -> None:
    """Yield to the loop, in one task."""
    with watch.running():
        for _ in range(count):
            await asyncio.sleep(0)


async def sleep_hundred(count: int, watch: Watch) -> None:
    """Yield to the loop, in a hundred tasks."""

    async def one() -> None:
        for _ in range(count // HUNDRED):
            await asyncio.sleep(0)

    with watch.running():
        await asyncio.gather(*(one() for _ in range(HUNDRED)))


async def create(count: int, watch: Watch) -> None:
    """Create a task and await it."""
    with watch.running():
        for _ in range(count):
            await asyncio.create_task(nothing())


async def gather(count: int, watch: Watch) -> None:
    """Gather a thousand coroutines."""
    with watch.running():
        for _ in range(count // THOUSAND):
            await asyncio.gather(*(nothing() for _ in range(THOUSAND)))


async def queue(count: int, watch: Watch) -> None:
    """Send an item to a task and get it back, over two queues."""
    there: asyncio.Queue[int] = asyncio.Queue()
    back: asyncio.Queue[int] = asyncio.Queue()

    async def pong() -> None:
        for _ in range(count):
            await back.put(await there.get())

    task = asyncio.create_task(pong())
    with watch.running():
        for number in range(count):
            await there.put(number)
            assert await back.get() == number
    await task


async def wait_for(count: int, watch: Watch) -> None:
    """Wait for what does not come, with no patience."""
    loop = asyncio.get_running_loop()
    with watch.running():
        for _ in range(count):
            try:
                await asyncio.wait_for(loop.create_future(), 0)
            except TimeoutError:
                continue
            raise AssertionError("what does not come has come")
