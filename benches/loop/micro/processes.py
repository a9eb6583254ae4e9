"""Subprocesses."""

import asyncio
from asyncio.subprocess import PIPE

from loop.micro.watch import Watch

TEN = 10
MEGABYTE = 1_000_000


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
    """Read so many megabytes that a program writes."""
    size = count * MEGABYTE
    process = await asyncio.create_subprocess_exec(
        "head", "-c", str(size), "/dev/zero", stdout=PIPE
    )
    assert process.stdout is not None
    seen = len(await process.stdout.readexactly(1))
    with watch.running():
        while data := await process.stdout.read(1 << 18):
            seen += len(data)
    await process.wait()
    assert seen == size
