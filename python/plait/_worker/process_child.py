"""A process of `plait.Process`: it becomes what it is told to be, runs, and leaves."""

import atexit
import importlib
import io
import marshal
import multiprocessing
import os
import signal
import socket
import sys
from multiprocessing import process as multiprocessing_process
from multiprocessing import util
from typing import TYPE_CHECKING, NoReturn

from plait._pickling.inbound import Inbound
from plait._worker import inherited, setting
from plait._worker.deadline import Deadline, TimeUp
from plait._worker.forking import tie
from plait._worker.passing import receive_fds
from plait._worker.protocol import MESSAGE
from plait._worker.starting import BEGUN, LEAVING, MAX_FDS, START, Start

if TYPE_CHECKING:
    from plait._process.process import Process

__all__ = ["main"]


def main(channel_fd: int, lifeline: int) -> NoReturn:
    """Be a process from the fork on."""
    tie(lifeline)
    channel = _Channel(channel_fd)
    start, fds = channel.receive()
    os.setpgid(0, start["group"])
    _set_up(start, fds)
    atexit._clear()
    atexit.register(util._exit_function)  # type: ignore[attr-defined]
    code, deadline = 1, None
    try:
        process = _load(start)
        deadline = Deadline(process.name, *process._plait_limits)
        channel.send(BEGUN, deadline.begun)
        code = process._bootstrap(lifeline)  # type: ignore[attr-defined]
    except TimeUp:
        pass  # after what was to be run had ended
    except BaseException:
        sys.excepthook(*sys.exc_info())
    _leave(channel, code, deadline)


class _Channel:
    """The socket to the parent. What is run has it open too, and may close it."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._identity = self._identify()

    def _identify(self) -> tuple[int, int]:
        status = os.fstat(self._socket.fileno())
        return status.st_dev, status.st_ino

    def receive(self) -> tuple[Start, list[int]]:
        """Wait for what is to be done; the process ends here if nothing is."""
        fds: list[int] = []
        expected = 1
        while len(fds) < expected:
            message, more, complete = receive_fds(self._socket, MESSAGE.size, MAX_FDS)
            if not message:
                os._exit(1)
            kind, expected, *_ = MESSAGE.unpack(message)
            assert kind == START, kind
            if not complete:
                raise OSError("too many open files: not all that the arguments consist of came")
            fds += more
        with open(fds.pop(0), "rb") as file:
            start: Start = marshal.load(file)
        return start, fds

    def send(self, kind: int, *numbers: int) -> None:
        first, second = (*numbers, 0, 0)[:2]
        try:
            if self._identify() == self._identity:
                flags = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
                self._socket.send(MESSAGE.pack(kind, first, second, 0), flags)
        except OSError:
            pass  # closed here or there: then nobody hears it


def _set_up(start: Start, fds: list[int]) -> None:
    """Have this process see what its parent saw when it was started."""
    directory = fds.pop(0)
    os.fchdir(directory)
    os.close(directory)
    for number in (1, 2):
        _take_stream(number, fds.pop(0) if number in start["streams"] else None)
    inherited.take(fds, tracked=True)
    for number in start["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    environment = dict(start["environment"])
    for name in set(os.environb) - set(environment):
        del os.environb[name]
    for name, value in environment.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    sys.path[:] = start["path"]
    setting.apply(start["settings"])
    # Modules may have appeared since the template looked.
    importlib.invalidate_caches()
    current = multiprocessing_process.current_process()
    current.authkey = start["settings"]["authkey"]
    if start["start_method"] is not None:
        multiprocessing.set_start_method(start["start_method"], force=True)
    if start["log_to_stderr"]:
        util.log_to_stderr()
    if start["log_level"] is not None:
        util.get_logger().setLevel(start["log_level"])


def _take_stream(number: int, fd: int | None) -> None:
    name = "stdout" if number == 1 else "stderr"
    stream = getattr(sys, name)
    if fd is None:
        os.close(number)
        setattr(sys, name, None)
        return
    os.dup2(fd, number)
    os.close(fd)
    if isinstance(stream, io.TextIOWrapper) and name == "stdout":
        # The template had another, perhaps.
        stream.reconfigure(line_buffering=os.isatty(number))


def _load(start: Start) -> "Process":
    settings = start["settings"]
    inbound = Inbound(settings["main_file"], settings["main_package"])
    for number, data in start["images"]:
        inbound.add_image(number, data, [])
    bootstrap, _, _ = inbound.load_call(start["target"], start["data"], [])
    process: Process = bootstrap.__self__  # type: ignore[attr-defined]
    return process


def _leave(channel: _Channel, code: int, deadline: Deadline | None) -> NoReturn:
    """End as an interpreter does; or by the signal, if the time was up."""
    try:
        atexit._run_exitfuncs()
        util._flush_std_streams()  # type: ignore[attr-defined]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    code &= 0xFF
    time_up = deadline is not None and deadline.is_up
    channel.send(LEAVING, -signal.SIGTERM if time_up else code, time_up)
    if time_up:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(code)
