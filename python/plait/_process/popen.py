"""A process that was started, as `multiprocessing` wants to see one."""

import contextlib
import os
import signal
import socket
import threading
import time
from multiprocessing import popen_fork, resource_tracker, util
from multiprocessing import process as multiprocessing_process
from typing import TYPE_CHECKING, Any

from plait._binding import native
from plait._handing import handing, tracker
from plait._process import launcher, payload
from plait._process.exit_code import exit_code_of
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

    def _launch(self, process: "Process") -> None:
        streams = [number for number in (1, 2) if launcher.is_open(number)]
        with handing() as handed:
            data = payload.encode(process, streams)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            channel, theirs = launcher.packets()
            undo.callback(channel.close)
            passed.callback(theirs.close)
            lifeline, their_line = native.Lifeline.make()
            undo.callback(lifeline.cut)
            passed.callback(os.close, their_line)
            spared = not self.leads_group
            forked = launcher.launcher.fork(theirs.fileno(), their_line, spared=spared)
            undo.callback(os.close, forked.pidfd)
            _tell(channel, data, streams, handed.fds)
            undo.pop_all()
        self.pid = forked.pid
        self.sentinel = forked.pidfd
        self._template = forked.template
        # A number, not an object that would complain at the end of the program.
        self._channel = channel.detach()
        os.set_blocking(self._channel, False)
        self.finalizer = util.Finalize(self, _release, (self._channel, lifeline, forked.pidfd))

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code; None while it runs (unless `flag` says to wait)."""
        if self.returncode is None and os.getpid() == self._owner:
            if not launcher.is_readable(self.sentinel, 0 if flag == os.WNOHANG else None):
                return None
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._collect()
        return self.returncode

    @property
    def leads_group(self) -> bool:
        """Whether the process leads a process group of its own."""
        return self._limits.timeout is not None

    def interrupt(self) -> None:
        """Do what Ctrl-C of the terminal does."""
        self._send_signal(signal.SIGINT)

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
            launcher.is_readable(self._channel, 0.05)
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
                message = os.read(self._channel, MESSAGE.size)
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


def _after_fork_in_child() -> None:
    # At its end `multiprocessing` would terminate the parent's daemonic processes.
    children: set[Any] = multiprocessing_process._children  # type: ignore[attr-defined]
    for child in list(children):
        if isinstance(child._popen, Popen):
            children.discard(child)


os.register_at_fork(after_in_child=_after_fork_in_child)


def _tell(channel: socket.socket, data: bytes, streams: list[int], fds: list[int]) -> None:
    """Tell the process at the other end of the channel what it is."""
    own = [os.memfd_create("plait-process", os.MFD_CLOEXEC)]
    try:
        with open(own[0], "wb", closefd=False) as file:
            file.write(data)
        os.lseek(own[0], 0, os.SEEK_SET)
        own.append(os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        if tracker() is None:
            # Only then: it must not be called from a signal handler that came while it was.
            resource_tracker.ensure_running()
        shared = tracker()
        assert shared is not None
        every = [*own, *streams, shared, *fds]
        for place in range(0, len(every), MAX_FDS):
            message = MESSAGE.pack(START, len(every), 0, 0)
            try:
                socket.send_fds(channel, [message], every[place : place + MAX_FDS])
            except (BrokenPipeError, ConnectionResetError):
                return  # it was killed already, which its sentinel tells
    finally:
        for fd in own:
            os.close(fd)


def _release(channel: int, lifeline: native.Lifeline, pidfd: int) -> None:
    os.close(channel)
    lifeline.cut()
    os.close(pidfd)
