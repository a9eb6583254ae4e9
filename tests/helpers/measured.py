"""Functions to be measured: a module that the workers of a pool can import."""

import asyncio
import functools
import os
import time


def compute(number):
    total = 0
    for value in range(number):
        total += value * value
    return total


def nothing():
    return None


def generator():
    return (number for number in range(3))


def fail(message):
    raise LookupError(message)


def fail_in_a_worker(home):
    if os.getpid() != home:
        raise LookupError("only here")
    return compute(20_000)


class Loadless:
    """Pickles, but cannot be loaded again."""

    def __reduce__(self):
        return fail, ("cannot be loaded",)


def loadless():
    return Loadless()


def write_a_dot(path):
    with open(path, "ab", buffering=0) as file:
        file.write(b".")


async def wait(seconds):
    await asyncio.sleep(seconds)


async def block(seconds):
    time.sleep(seconds)  # noqa: ASYNC251 - what is to be found out


async def spin(number):
    return compute(number)


async def fail_later(message):
    await asyncio.sleep(0)
    raise LookupError(message)


def gives_coroutine(seconds):
    return wait(seconds)


class Waiter:
    async def __call__(self, seconds):
        await asyncio.sleep(seconds)


wait_partly = functools.partial(wait, 0.01)
