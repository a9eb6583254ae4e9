"""Programs as coroutines: a pipeline of two, one that runs too long, and many at once.

Each is waited for by its pidfd: there is no thread, no signal handler and no child watcher, so this
works in any thread.
"""

import asyncio
import os
import sys

import plait


async def count_words(text: bytes) -> bytes:
    """Run `sort | uniq -c` on the words, the two joined by a pipe of the kernel."""
    reading, writing = os.pipe()
    try:
        sort = await asyncio.create_subprocess_exec(
            "sort", stdin=asyncio.subprocess.PIPE, stdout=writing
        )
        unique = await asyncio.create_subprocess_exec(
            "uniq", "-c", stdin=reading, stdout=asyncio.subprocess.PIPE
        )
    finally:
        # The programs have theirs; with ours open, the second would never see the end.
        os.close(reading)
        os.close(writing)
    _, (counts, _) = await asyncio.gather(
        sort.communicate(text.replace(b" ", b"\n") + b"\n"), unique.communicate()
    )
    return counts


async def give_up(seconds: float) -> int:
    """Kill a program that does not end in time, and return how it ended."""
    program = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        async with asyncio.timeout(seconds):
            return await program.wait()
    except TimeoutError:
        program.kill()
        return await program.wait()


async def answer(number: int) -> int:
    """Have another interpreter compute."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", f"print({number} ** 2)", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await program.communicate()
    return int(output)


async def main() -> None:
    """Show the three."""
    print((await count_words(b"the cat saw the other cat")).decode(), end="")
    print("ended by signal", -await give_up(0.1))
    print(await asyncio.gather(*[answer(number) for number in range(10)]))


if __name__ == "__main__":
    plait.run(main())
