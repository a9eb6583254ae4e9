"""What tests have worker processes do.

Apart from the tests, because a worker that imports those imports pytest, which takes it longer
than the rest of most tests.
"""

import logging
import os
import signal
import subprocess
import sys

import tasks
from tasks import until


class Weak:
    """What weak references can be made to."""


def same(x):
    return x


def negated(x):
    return -x


def make_weak(_):
    return Weak()


def touch(path):
    path.touch()


def fail_at(place, x):
    if x == place:
        raise ValueError(f"at {x}")
    return x


def meet_all(path, count):
    """Make a file, and wait until there are so many."""
    path.touch()
    until(lambda: len(list(path.parent.iterdir())) == count)
    return path.name


def count(path):
    """Add a line to a file, and tell how many there are."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines())


def attempts(path):
    return len(path.read_text().splitlines())


def fails(path, times, error=ValueError):
    if count(path) <= times:
        raise error("not yet")
    return "at last"


def dies(path, times):
    if count(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "at last"


def hangs(path, times):
    if count(path) <= times:
        tasks.doze()
    return "at last"


def changes(path, items):
    items.append(count(path))
    if len(items) + attempts(path) < 4:
        raise ValueError(items)
    return items


def square(x):
    return x * x


async def double(x):
    import asyncio  # It takes longer than all else here.

    await asyncio.sleep(0)
    return 2 * x


def fail_until_third(path):
    with open(path, "a") as stream:
        stream.write("x")
    if os.path.getsize(path) < 3:
        raise OSError("not yet")
    return os.path.getsize(path)


def write(number):
    print("printed", number)
    sys.stderr.write(f"to stderr {number}\n")
    subprocess.run(["sh", "-c", f"echo from a child {number}"], check=True)
    logging.getLogger("some").warning("logged %d", number)
    if number == 1:
        raise ValueError("wrong")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
