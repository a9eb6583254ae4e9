"""A process that was started, as `multiprocessing` wants to see one."""

import contextlib
import os
import signal
import socket
import threading
import time
from multiprocessing import popen_fork, resource_tracker, util
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from typing import TYPE_CHECKING

from plait._binding import native
from plait._pickling.shared import check_locks
from plait._process import launcher, payload
from plait._process.exit_code import exit_code_of
from plait._worker.inherited import DupFd
from plait._worker.protocol import EXITED, MESSAGE
from plait._worker.starting import BEGUN, ENDED, LEAVING, MAX_FDS, START

if TYPE_CHECKING:
    from plait._process.process import Process

__all__ = ["Popen"]

# How long a template that lives may take to say how a process ended, in seconds.
_PATIENCE = 5.0
# What nobody can tell, reported as `multiprocessing` does.
_UNKNOWN = 255


class Popen(popen_fork.Popen):
    """Starts a process, and knows of its end."""

    method = "template"
    DupFd = DupFd

    def __init__(self, process: "Process") -> None:
        """Start the process.

        Raises:
            OSError: the kernel refuses.
            RuntimeError: no template can be started.
            Exception: something cannot be pickled.

        """
        # Reentrant: a signal handler that starts a process asks for the exit code of all.
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._fds: list[int] = []
        self._limits = process._plait_limits
        # What was said so far: when it began, with which code it was going to leave, with which
        # code it has ended and when.
        self._begun: int | None = None
        self._leaving: int | None = None
        self._ended: int | None = None
        self._ended_at: int | None = None
        self._killed = False
        self.timed_out = False
        super().__init__(process)

    def duplicate_for_child(self, fd: int) -> int:
        """Take a descriptor along; return its place among them."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def _launch(self, process: "Process") -> None:
        check_locks()
        before = get_spawning_popen()
        set_spawning_popen(self)  # type: ignore[arg-type]
        try:
            data = payload.encode(process)
        finally:
            # Not just None: a signal handler that starts a process may come at any point.
            set_spawning_popen(before)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(channel.close)
            passed.callback(theirs.close)
            lifeline, their_line = native.Lifeline.make()
            undo.callback(lifeline.cut)
            passed.callback(os.close, their_line)
            forked = launcher.launcher.fork(theirs.fileno(), their_line)
            undo.callback(os.close, forked.pidfd)
            _tell(channel, data, self._fds)
            undo.pop_all()
        self.pid = forked.pid
        self.sentinel = forked.pidfd
        self._template = forked.template
        self._channel = channel
        self.finalizer = util.Finalize(self, _release, (channel, lifeline, forked.pidfd))

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code; None while it runs (unless `flag` says to wait)."""
        if self.returncode is None and os.getpid() == self._owner:
            if not launcher.is_readable(self.sentinel, 0 if flag == os.WNOHANG else None):
                return None
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._collect()
        return self.returncode

    def _send_signal(self, sig: int) -> None:
        if self.returncode is None:
            self._killed |= sig == signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.sentinel, sig)

    def _collect(self) -> int:
        """Find out how the process ended, which it has."""
        deadline = time.monotonic() + _PATIENCE
        self._hear()
        while self._ended is None and time.monotonic() < deadline:
            if launcher.is_readable(self._template.pidfd):
                self._hear()  # what it said before it went
                break
            # No longer: a signal handler may have come this way and heard it.
            launcher.is_readable(self._channel.fileno(), 0.05)
            self._hear()
        self._template.has_ended()
        code = self._ended
        if code is None:
            code = exit_code_of(self.sentinel)
        if code is None:
            code = self._leaving
        self.timed_out |= self._was_killed_at_deadline(code)
        return _UNKNOWN if code is None else code

    def _hear(self) -> None:
        """Take in what was said."""
        while True:
            try:
                message = self._channel.recv(MESSAGE.size, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionResetError):
                return
            if not message:
                return
            kind, first, second, third = MESSAGE.unpack(message)
            if kind == BEGUN:
                self._begun = first
            elif kind == LEAVING:
                self._leaving, self.timed_out = first, bool(second)
            elif kind == ENDED:
                self._ended, self._ended_at = (second if first == EXITED else -second), third

    def _was_killed_at_deadline(self, code: int | None) -> bool:
        if (
            code != -signal.SIGKILL
            or self._killed
            or self._begun is None
            or self._limits.timeout is None
        ):
            return False
        ended = time.monotonic_ns() if self._ended_at is None else self._ended_at
        return (ended - self._begun) / 1e9 >= self._limits.timeout + self._limits.grace


def _tell(channel: socket.socket, data: bytes, fds: list[int]) -> None:
    """Tell the process at the other end of the channel what it is."""
    own = [os.memfd_create("plait-process", os.MFD_CLOEXEC)]
    try:
        with open(own[0], "wb", closefd=False) as file:
            file.write(data)
        os.lseek(own[0], 0, os.SEEK_SET)
        own.append(os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        streams = [number for number in (1, 2) if launcher.is_open(number)]
        tracker = _tracker()
        every = [*own, *streams, tracker, *fds]
        for place in range(0, len(every), MAX_FDS):
            message = MESSAGE.pack(START, len(every), 0, 0)
            try:
                socket.send_fds(channel, [message], every[place : place + MAX_FDS])
            except (BrokenPipeError, ConnectionResetError):
                return  # it was killed already, which its sentinel tells
    finally:
        for fd in own:
            os.close(fd)


def _tracker() -> int:
    """Return the descriptor of the resource tracker, which it shares with us."""
    tracker = resource_tracker._resource_tracker
    if tracker._fd is None:  # type: ignore[attr-defined]
        # Only then: it must not be called from a signal handler that came while it was.
        tracker.ensure_running()
    fd: int = tracker._fd  # type: ignore[attr-defined]
    return fd


def _release(channel: socket.socket, lifeline: native.Lifeline, pidfd: int) -> None:
    channel.close()
    lifeline.cut()
    os.close(pidfd)
