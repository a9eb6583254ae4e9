"""What `faults.py` runs in workers that run many coroutines at once."""

import asyncio
import os
import signal

from fault_jobs import (
    Job,
    any_job,
    is_timeout,
    make_array,
    nap_in_a_loop,
    same,
    same_array,
)

import plait


async def echo_in_a_loop(data):
    await asyncio.sleep(0)
    return data


async def fail_in_a_loop(text):
    await asyncio.sleep(0)
    raise LookupError(text)


async def swallow_in_a_loop():
    """Go on whatever is raised: only the worker's end helps."""
    while True:
        try:
            await asyncio.sleep(3_600)
        except BaseException:
            continue


async def print_in_a_loop(text):
    print(text)
    await asyncio.sleep(0)
    print(text)
    return text


async def die_in_a_loop(seconds):
    await asyncio.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def any_that_ends(chance):
    """Choose any task, but none that keeps the thread, and with it all others, until it is stopped.

    Whoever is to stop it may wait for one of those others.
    """
    while (job := any_job(chance)).endless:
        pass
    return job


def together_job(chance):
    """Choose a task that is mostly a coroutine."""
    how, seconds = chance.random(), chance.random() / 10
    if how < 0.2:
        return any_that_ends(chance)
    if how < 0.5:
        return Job("nap together", nap_in_a_loop, (seconds,), same(seconds))
    if how < 0.7:
        array = make_array(chance)
        return Job("array together", echo_in_a_loop, (array,), same_array(array))
    if how < 0.75:
        return Job(
            "fail together",
            fail_in_a_loop,
            ("no",),
            error=lambda error: type(error) is LookupError and error.args == ("no",),
        )
    if how < 0.8:
        text = f"{chance.getrandbits(64):x}"
        captured = plait.task(print_in_a_loop, capture=True)
        return Job("captured together", captured, (text,), same(text), output=f"{text}\n{text}\n")
    if how < 0.9:
        late = plait.task(nap_in_a_loop, timeout=seconds, grace=0.2)
        return Job("late together", late, (3_600.0,), error=is_timeout)
    if how < 0.94:
        # At about its deadline.
        narrow = plait.task(nap_in_a_loop, timeout=0.02)
        return Job("late together or not", narrow, (0.02,), same(0.02), is_timeout)
    if how < 0.98:
        return Job("endless together", nap_in_a_loop, (3_600.0,), endless=True)
    if how < 0.99:
        stubborn = plait.task(swallow_in_a_loop, timeout=seconds, grace=0.05)
        return Job("late together, stubborn", stubborn, (), error=is_timeout)
    return Job("die together", die_in_a_loop, (seconds,))
