"""The template of a pool: it forks the workers."""

import gc
import marshal
import os
import socket
from multiprocessing import process as _multiprocessing_process  # workers tell who they are
from typing import NoReturn

from plait._worker import records, setting, worker
from plait._worker.forking import Forker, reset_signals, take_control, tie
from plait._worker.protocol import GONE, Settings

__all__ = ["main"]

assert _multiprocessing_process


def main() -> NoReturn:
    """Serve the pool at the other end of standard input until it says go."""
    control, parent_pid, fds = take_control()
    settings_fd, bell, lifeline, pipe = fds
    tie(lifeline)
    reset_signals()
    with open(settings_fd, "rb") as file:
        settings: Settings = marshal.loads(file.read())
    setting.apply(settings)
    records.install(pipe)
    # What is here now is here for good: workers share its pages as long as
    # no collection touches them.
    gc.collect()
    gc.freeze()
    _Template(control, bell, lifeline, settings, parent_pid).serve()


class _Template(Forker):
    def __init__(
        self,
        control: socket.socket,
        bell: int,
        lifeline: int,
        settings: Settings,
        parent_pid: int,
    ) -> None:
        super().__init__(control, lifeline)
        self._bell = bell
        self._settings = settings
        self._parent_pid = parent_pid

    def be_child(self, number: int, fds: list[int]) -> NoReturn:
        memory, lifeline, stderr = fds
        os.dup2(stderr, 2)
        os.close(stderr)
        os.setpgid(0, 0)
        tie(lifeline)
        worker.main(memory, self._bell, lifeline, number, self._parent_pid, self._settings)

    def tell_end(self, number: int, how: int, code: int) -> None:
        self.send(GONE, number, how, code)
