"""The template of `plait.Process`: it forks the processes."""

import gc
import os
import socket
import time
from multiprocessing import connection, queues, resource_tracker, spawn, synchronize, util
from typing import NoReturn

from plait._pickling import by_value
from plait._process import process
from plait._worker import process_child
from plait._worker.forking import Forker, reset_signals, take_control, tie
from plait._worker.protocol import MESSAGE
from plait._worker.starting import ENDED

__all__ = ["main"]

# Imported here once rather than in every process that is likely to use them.
assert all((by_value, connection, process, queues, resource_tracker, spawn, synchronize, util))


def main() -> NoReturn:
    """Serve the process at the other end of standard input until it says go."""
    control, _, fds = take_control()
    (lifeline,) = fds
    tie(lifeline)
    reset_signals()
    gc.collect()
    gc.freeze()
    _Template(control, lifeline).serve()


class _Template(Forker):
    def __init__(self, control: socket.socket, lifeline: int) -> None:
        super().__init__(control, lifeline)
        # To each process's parent, to tell how it ended.
        self._channels: dict[int, socket.socket] = {}

    def before_fork(self, number: int, fds: list[int]) -> None:
        self._channels[number] = socket.socket(fileno=os.dup(fds[0]))

    def not_forked(self, number: int) -> None:
        channel = self._channels.pop(number, None)
        if channel is not None:
            channel.close()

    def be_child(self, number: int, fds: list[int]) -> NoReturn:
        for channel in self._channels.values():
            channel.close()
        process_child.main(*fds)

    def tell_end(self, number: int, how: int, code: int) -> None:
        with self._channels.pop(number) as channel:
            try:
                message = MESSAGE.pack(ENDED, how, code, time.monotonic_ns())
                channel.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except (BrokenPipeError, ConnectionResetError):
                pass  # nobody waits for it
