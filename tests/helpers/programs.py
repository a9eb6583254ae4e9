"""Programs of tests that run as processes of their own."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

LIMIT = 60

# What programs say where they are by.
ANNOUNCES = """
import os, pathlib

def announce(name):
    path = pathlib.Path(name)
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
"""


class Program:
    """A Python program in a process and session of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self._path = tmp_path / "program.py"
        self.directory = tmp_path
        self._sentinels: dict[int, int] = {}
        self.process: subprocess.Popen[str] | None = None

    def start(self, text: str, *flags: str) -> None:
        # A shell starts what it puts into the background with SIGINT ignored,
        # and the test run may be such.
        first = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        self._path.write_text(first + ANNOUNCES + textwrap.dedent(text))
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(self._path)],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, name: str) -> str:
        path = self.directory / name
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()
            os.sched_yield()
        return path.read_text()

    def watch(self) -> list[int]:
        """Note every descendant of the program that there is now."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
            if pid != self.process.pid:
                found.append(pid)
        for pid in found:
            self._sentinels[pid] = os.pidfd_open(pid)
        return found

    def nothing_is_left(self) -> None:
        """Wait for the end of all that were noted; by themselves, they would not end."""
        poll = select.poll()
        for fd in self._sentinels.values():
            poll.register(fd, select.POLLIN)
        left = set(self._sentinels.values())
        while left:
            ready = poll.poll(LIMIT * 1000)
            alive = [pid for pid, fd in self._sentinels.items() if fd in left]
            assert ready, f"still there: {alive}"
            for fd, _ in ready:
                left.discard(fd)
                poll.unregister(fd)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out, err

    def close(self) -> None:
        for fd in self._sentinels.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


def run(program: str) -> tuple[int, str, str]:
    """Run a program to its end; what it exits with, and what it writes."""
    done = subprocess.run(
        # Some fork although there are threads, which Python warns of.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
