"""Where does a function run best? Measure it.

From the command line: plait which choice:count --args '[20000]'
"""

import asyncio
import time

import plait


def count(number: int) -> int:
    """Compute in Python."""
    total = 0
    for value in range(number):
        total += value % 7
    return total


async def wait(seconds: float) -> None:
    """Wait as a coroutine does."""
    await asyncio.sleep(seconds)


if __name__ == "__main__":
    for function, argument in ((count, 20_000), (time.sleep, 0.01), (wait, 0.01)):
        print(f"\n{function.__name__}({argument})")
        print(plait.measure(function, argument, budget=0.5))
