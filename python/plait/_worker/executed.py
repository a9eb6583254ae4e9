"""A worker that was executed, because its template must not fork: a thread runs there."""

import marshal
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

from plait._worker import inherited, preload, records, setting, worker
from plait._worker.forking import tie
from plait._worker.protocol import Settings

__all__ = ["execute", "main"]


def execute(fds: Sequence[int], stderr: int, number: int, parent_pid: int) -> int:
    """Execute a worker.

    Args:
        fds: those of `main`.
        stderr: its standard error.
        number: the worker's number in its pool.
        parent_pid: the user's process.

    Returns:
        Its pid.

    Raises:
        OSError: it cannot be started.

    """
    # The private function that multiprocessing uses for the same purpose.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    start = (
        f"import sys; sys.path[:] = {sys.path!r}; from plait._worker.executed import main; "
        f"main({number}, {parent_pid}, {inherited.received}, {', '.join(map(str, fds))})"
    )
    handed = (*fds, *inherited.received)
    for fd in handed:
        os.set_inheritable(fd, True)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *flags, "-c", start],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, stderr, 2)],
            setpgroup=0,
        )
    finally:
        for fd in handed:
            os.set_inheritable(fd, False)


def main(
    number: int,
    parent_pid: int,
    handed: list[int],
    memory: int,
    bell: int,
    lifeline: int,
    pipe: int,
    settings_fd: int,
    *others: int,
) -> NoReturn:
    """Be a worker until the pool says leave; see `worker.main`."""
    for fd in (memory, bell, lifeline, pipe, settings_fd, *handed, *others):
        os.set_inheritable(fd, False)
    tie(lifeline)
    # The position in the file is shared with whoever else reads it.
    settings: Settings = marshal.loads(os.pread(settings_fd, os.fstat(settings_fd).st_size, 0))
    os.close(settings_fd)
    setting.apply(settings)
    inherited.take(handed, settings["tracked"])
    records.install(pipe)
    preload.load(settings["preload"])
    channel = worker.connect(settings, memory, bell, *others)
    worker.main(channel, lifeline, number, parent_pid, settings)
