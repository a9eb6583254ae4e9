"""Timers."""

import asyncio
import random

from loop.micro.calls import BULK, countdown, nothing
from loop.micro.watch import Watch

# Soon enough not to wait for, and not at once: some loops make a callback of that.
SOON = (0.001, 0.002)
LATE = 1_000.0
PENDING = 100_000
# How many are set between two turns of the loop.
TURN = 1_000


async def fired(count: int, watch: Watch) -> None:
    """Set timers, in no order of their deadlines, and let them fire."""
    loop = asyncio.get_running_loop()
    draw = random.Random(4).uniform
    delays = [draw(*SOON) for _ in range(BULK)]
    while count > 0:
        some = min(count, BULK)
        done = loop.create_future()
        step = countdown(some, done)
        with watch.running():
            for delay in delays[:some]:
                loop.call_later(delay, step)
            await done
        count -= some


async def cancelled(count: int, watch: Watch) -> None:
    """Set timers and cancel each at once."""
    loop = asyncio.get_running_loop()
    with watch.running():
        for number in range(count):
            loop.call_later(LATE, nothing).cancel()
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)


async def cancelled_over_many(count: int, watch: Watch) -> None:
    """Set timers and cancel each at once, while many others are pending."""
    loop = asyncio.get_running_loop()
    pending = [loop.call_later(LATE + number, nothing) for number in range(PENDING)]
    await cancelled(count, watch)
    for handle in pending:
        handle.cancel()
