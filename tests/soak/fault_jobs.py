"""What `faults.py` has a process pool do: tasks of every kind, and what each may come to."""

import asyncio
import ctypes
import faulthandler
import logging
import os
import random
import signal
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

import plait

LOGGER = logging.getLogger("faults")


def never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class Job:
    """A task, and how to tell whether its outcome is one that it can have.

    That it was cancelled, or that its worker died, can happen to each, unless `lasting`.
    """

    kind: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    value: Callable[[Any], bool] = never
    error: Callable[[BaseException], bool] = never
    endless: bool = False
    """Whether somebody has to stop it."""
    lasting: bool = False
    """Whether it survives the death of its worker."""
    records: tuple[str, int] | None = None
    """The name and the number of the log records that it makes."""
    output: str | None = None
    """What is captured."""


# -- the tasks ------------------------------------------------------------------------------------


def echo(data):
    return data


def nap(seconds):
    time.sleep(seconds)
    return seconds


async def nap_in_a_loop(seconds):
    await asyncio.sleep(seconds)
    return seconds


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def block_signals(seconds):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(seconds)


def swallow():
    """Go on whatever is raised."""
    while True:
        try:
            time.sleep(3_600)
        except BaseException:
            continue


def fail(text):
    raise LookupError(text)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


def fail_strangely():
    raise Unpicklable("strange")


def die(how):
    faulthandler.disable()
    if how == "exit":
        os._exit(7)
    if how == "segv":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def die_sometimes(value):
    """Return a value, if the worker lives on."""
    if os.urandom(1)[0] < 80:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def leave_a_child():
    """Fork; the child runs on into the pool's own code, which must not answer in its name."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


def bloat(megabytes):
    return len(bytearray(megabytes << 20))


_leaked = []


def leak(megabytes):
    """Keep memory for good."""
    _leaked.append(b"x" * (megabytes << 20))
    return megabytes


def gorge(megabytes):
    """Take memory and stay."""
    data = b"x" * (megabytes << 20)
    time.sleep(3_600)
    return len(data)


def talk(size):
    sys.stdout.write("x" * size)
    return size


def talk_all_over(text):
    print(text)
    os.write(1, b"raw\n")
    return text


def log(name, count):
    for number in range(count):
        LOGGER.warning("%s %d", name, number)
    return count


def add_one(array):
    """Write into the argument and send it back."""
    array += 1
    return array


def part(array, start, stop):
    return array[start:stop]


def length(view):
    return len(view)


def digest(data):
    return zlib.crc32(data)


# -- the choice -----------------------------------------------------------------------------------


def same(value):
    return lambda result: result == value


def same_array(array):
    return lambda result: (
        result.dtype == array.dtype
        and result.shape == array.shape
        and bool((result == array).all())
    )


def make_array(chance):
    kind = chance.choice(("u1", "i4", "f8", "c16"))
    size = int(chance.choice((1, 100, 10_000, 200_000)) * chance.random())
    array = numpy.frombuffer(chance.randbytes(1), "u1").astype(kind).repeat(size)
    return array.reshape(2, -1) if size % 2 == 0 and chance.random() < 0.5 else array


def make_bytes(chance):
    size = int(chance.choice((0, 10, 1_000, 60_000, 300_000, 3_000_000)) * chance.random())
    if chance.random() < 0.005:
        size = 40_000_000
    return chance.randbytes(16) * (size // 16 + 1)


def of_arrays(chance):
    array = make_array(chance)
    how = chance.randrange(3)
    if how == 0:
        return Job("array", echo, (array,), same_array(array))
    if how == 1:
        return Job("array written", add_one, (array,), same_array(array + 1))
    start = chance.randrange(len(array) + 1)
    stop = chance.randrange(start, len(array) + 1)
    return Job("array part", part, (array, start, stop), same_array(array[start:stop]))


def of_bytes(chance):
    data = make_bytes(chance)
    how = chance.randrange(4)
    if how == 0:
        return Job("bytearray", echo, (bytearray(data),), same(data))
    if how == 1:
        return Job("memoryview", length, (memoryview(data),), same(len(data)))
    if how == 2:
        return Job("digest", digest, (data,), same(zlib.crc32(data)))
    return Job("bytes", echo, (data,), same(data))


def of_plain(chance):
    size = chance.randrange(20_000)
    tree = {"n": size, "text": "y" * size, "list": [1, 2.5, None], "tuple": (b"z", True)}
    return Job("plain", echo, (tree,), same(tree))


def of_naps(chance):
    seconds = chance.random() / 50
    fn = chance.choice((nap, nap, spin, nap_in_a_loop))
    return Job(fn.__name__, fn, (seconds,), same(seconds))


def of_errors(chance):
    text = f"no {chance.random()}"
    if chance.random() < 0.3:
        return Job(
            "strange",
            fail_strangely,
            (),
            error=lambda error: type(error) is Unpicklable and str(error) == "strange",
        )
    return Job(
        "fail",
        fail,
        (text,),
        error=lambda error: type(error) is LookupError and error.args == (text,),
    )


def is_timeout(error):
    return isinstance(error, plait.TaskTimeout)


def of_deadlines(chance):
    """Run into a deadline, in every way that a task can take it; or keep it."""
    timeout = chance.uniform(0.01, 0.3)
    terms = {"timeout": timeout, "grace": chance.choice((0.02, 0.2))}
    how = chance.randrange(6)
    if how == 0:
        return Job("deadline kept", plait.task(nap, timeout=60), (0.001,), same(0.001))
    if how == 1:
        return Job("late, deaf", plait.task(block_signals, **terms), (3_600,), error=is_timeout)
    if how == 2:
        return Job("late, stubborn", plait.task(swallow, **terms), (), error=is_timeout)
    if how == 3:
        late = plait.task(nap_in_a_loop, **terms)
        return Job("late coroutine", late, (3_600.0,), error=is_timeout)
    if how == 4:
        # At about its deadline.
        narrow = plait.task(nap, timeout=0.02)
        return Job("late or not", narrow, (0.02,), same(0.02), is_timeout)
    return Job("late", plait.task(spin, **terms), (3_600.0,), error=is_timeout)


def of_retries(chance):
    how = chance.randrange(3)
    if how == 0:
        text = f"again {chance.random()}"
        return Job(
            "fail thrice",
            plait.task(fail, retries=2),
            (text,),
            error=lambda error: (
                type(error) is LookupError and "attempt number 3" in str(notes(error))
            ),
        )
    data = make_bytes(chance) if how == 1 else make_array(chance)
    right = same(data) if how == 1 else same_array(data)
    return Job(
        "die sometimes", plait.task(die_sometimes, retries=10_000), (data,), right, lasting=True
    )


def notes(error):
    return getattr(error, "__notes__", [])


def of_records(chance):
    name, count = f"{chance.getrandbits(64):x}", chance.randrange(1, 20)
    return Job("log", log, (name, count), same(count), records=(name, count))


def of_output(chance):
    if chance.random() < 0.5:
        size = chance.randrange(1, 2_000)
        return Job("talk", talk, (size,), same(size))
    text = f"{chance.getrandbits(64):x}"
    captured = plait.task(talk_all_over, capture=True)
    return Job("captured", captured, (text,), same(text), output=f"{text}\nraw\n")


def of_ends(chance):
    return Job("die", die, (chance.choice(("exit", "segv", "kill")),))


def of_forks(_):
    return Job("fork", leave_a_child, (), same("parent"))


def of_lambdas(chance):
    value = chance.random()
    return Job("lambda", lambda: value + 1, (), same(value + 1))


def of_endless(chance):
    fn, args = chance.choice(((nap, (3_600.0,)), (swallow, ()), (spin, (3_600.0,))))
    return Job("endless", fn, args, endless=True)


def of_memory(chance):
    megabytes = chance.randrange(1, 30)
    return Job("bloat", bloat, (megabytes,), same(megabytes << 20))


def of_leaks(chance):
    if chance.random() < 0.05:
        return Job("gorge", gorge, (400,))
    return Job("leak", leak, (10,), same(10))


# How often each is chosen.
EVERYWHERE = {
    of_bytes: 30,
    of_arrays: 20,
    of_plain: 20,
    of_naps: 20,
    of_lambdas: 8,
    of_errors: 6,
    of_output: 6,
    of_records: 6,
    of_retries: 3,
    of_deadlines: 3,
    of_memory: 3,
    of_ends: 1,
    of_forks: 1,
    of_endless: 1,
}


def any_job(chance: random.Random) -> Job:
    return chance.choices(tuple(EVERYWHERE), tuple(EVERYWHERE.values()))[0](chance)


def leaky_job(chance: random.Random) -> Job:
    return of_leaks(chance) if chance.random() < 0.1 else any_job(chance)


def ending_job(chance: random.Random) -> Job:
    """Choose a task that ends by itself wherever its worker is stopped."""
    seconds = chance.random() / 50
    terms = {"timeout": chance.uniform(0.3, 1), "grace": 0.05}
    if chance.random() < 0.5:
        array = make_array(chance)
        return Job(
            "bounded array", plait.task(echo, **terms), (array,), same_array(array), is_timeout
        )
    return Job("bounded", plait.task(nap, **terms), (seconds,), same(seconds), is_timeout)
