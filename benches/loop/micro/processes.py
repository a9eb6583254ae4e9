"""Subprocesses."""

import asyncio
from asyncio.subprocess import PIPE

from loop.micro.watch import Watch

TEN = 10
MEGABYTE = 1_000_000
# How many megabytes go through one process.
PIPED = 50


async def _one() -> None:
    process = await asyncio.create_subprocess_exec("true")
    status = await process.wait()
    assert status == 0


async def one_by_one(count: int, watch: Watch) -> None:
    """Run a program and wait for its end, one after another."""
    await _one()
    with watch.running():
        for _ in range(count):
            await _one()


async def ten_at_once(count: int, watch: Watch) -> None:
    """Run ten programs at once and wait for the end of all."""
    await _one()
    with watch.running():
        for _ in range(count // TEN):
            await asyncio.gather(*(_one() for _ in range(TEN)))


async def pipe(count: int, watch: Watch) -> None:
    """Send megabytes through `cat` and back, by `communicate`."""
    data = bytes(PIPED * MEGABYTE)
    for _ in range(count // PIPED):
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        with watch.running():
            answer, _ = await process.communicate(data)
        assert answer == data
