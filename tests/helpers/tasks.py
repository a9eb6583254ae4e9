"""Tasks that tests of the process pool have stopped, and what they leave behind.

A task says that it runs by making a file; tests wait for that, and for no time.
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

LIMIT = 60


def until(condition, what="it"):
    """Wait for what nobody tells of."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to pass"
        time.sleep(0.001)


def timeouts(first):
    """Give ever longer timeouts, to be tried until what is to come before them has come before.

    On a machine that stands still for a while, any timeout passes before anything else happens.
    """
    while first < LIMIT:
        yield first
        first *= 3
    raise AssertionError("it was too late for every timeout")


def wait_for_file(path):
    """Wait for a file, and return its name."""
    path = Path(path)
    until(path.exists, path)
    return path.name


def meet(mine, other):
    """Make a file and wait for another's."""
    mine.touch()
    wait_for_file(other)


def write(path, text=""):
    """Make a file in one step: who sees it sees all of it."""
    path = Path(path)
    new = path.with_suffix(".new")
    new.write_text(str(text))
    new.rename(path)


def read_pid(path):
    wait_for_file(path)
    return int(Path(path).read_text())


def double(x):
    return 2 * x


def hang(begun=None, cleaned=None):
    """Spin in Python; clean up when stopped."""
    try:
        if begun is not None:
            write(begun, os.getpid())
        while True:
            pass
    finally:
        if cleaned is not None:
            write(cleaned, os.getpid())


def doze(begun=None, cleaned=None):
    """Sleep in a system call; clean up when stopped."""
    try:
        if begun is not None:
            write(begun, os.getpid())
        time.sleep(1000)
    finally:
        if cleaned is not None:
            write(cleaned, os.getpid())


def block_signals(begun=None):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    hang(begun)


def swallow(begun=None, stopped=None):
    """Go on whatever is raised."""
    while True:
        try:
            if begun is not None:
                write(begun, os.getpid())
                begun = None
            while True:
                pass
        except BaseException:
            if stopped is not None:
                Path(stopped).touch()


def give_in(begun=None):
    """Return a value when stopped."""
    try:
        hang(begun)
    except BaseException:
        return "stopped"


def sit_in_c(begun=None):
    """Run a C function that looks for no signals."""
    first = []
    if begun is not None:
        # The function itself says that it has begun: no Python code follows that could be stopped.
        written = f"{begun}.by_c"
        write(written, os.getpid())
        first = map(len, map(str, map(os.rename, [written], [begun])))
    return sum(itertools.chain(first, range(10**13)))


def wait_for(path, value=None):
    wait_for_file(path)
    return value


def wait_until_gone(pid):
    """Wait for the end of a process that may have nobody to reap it."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(")")[2].split()[0] == "Z":
            return
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def behave(how):
    """Do what a test may do to the process that runs it."""
    if how == "raise":
        raise ValueError("wrong")
    if how == "exit":
        sys.exit(3)
    if how == "hang":
        while True:
            pass
    if how == "block":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(LIMIT)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        os._exit(7)
    return how
