"""What every template does: fork on demand, reap, and say who began and who ended.

A template is a clean process of one thread, executed with a socket as its standard input, over
which it is asked. It is the parent of what it forks, so it alone can reap it.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import sys
from typing import NamedTuple, NoReturn

from plait._worker.passing import receive_fds
from plait._worker.protocol import (
    EXITED,
    FORK,
    FORKED,
    GO,
    HAND,
    KILLED,
    MESSAGE,
    NOT_FORKED,
    SERVE,
    SERVING,
)

__all__ = ["Forker", "reset_signals", "take_control", "tie"]

_MAX_FDS = 64


def take_control() -> tuple[socket.socket, int, list[int]]:
    """Take over the socket that is standard input, and hear the first message on it.

    Returns:
        The socket, the pid of the process at its other end, and the descriptors that it sent:
        those of this message, then those of the next ones, which hand them to the children.

    """
    # What the user's process lets its children inherit is not for ours.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    while null < 3:
        null = os.dup(null)  # one of the three was closed: it is not for others to take
    control = socket.socket(fileno=os.dup(0))
    os.dup2(null, 0)
    os.close(null)
    kind, numbers, fds = _receive(control)
    assert kind == SERVE, kind
    assert fds is not None
    expected = len(fds) + numbers[1]
    while len(fds) < expected:
        kind, _, more = _receive(control)
        assert kind == HAND, kind
        assert more is not None
        fds += more
    return control, numbers[0], fds


def tie(lifeline: int) -> None:
    """Die with the process that holds the other end of the pipe.

    The kernel sends SIGKILL when that end closes, also to a process that is
    stopped or busy in C.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    # It may have closed before the signal was asked for.
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        os.kill(os.getpid(), signal.SIGKILL)


def reset_signals() -> None:
    """Undo what the user's process ignores or blocks, except what Python ignores."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


def _receive(control: socket.socket) -> tuple[int, tuple[int, int, int], list[int] | None]:
    """Receive a message and its descriptors; None if there was no room for them all."""
    try:
        message, fds, complete = receive_fds(control, MESSAGE.size, _MAX_FDS)
    except ConnectionResetError:
        # The user's process has ended before it has read what it was told.
        os._exit(1)
    if not message:
        os._exit(1)
    kind, *numbers = MESSAGE.unpack(message)
    if not complete:
        for fd in fds:
            os.close(fd)
        return kind, (numbers[0], numbers[1], numbers[2]), None
    return kind, (numbers[0], numbers[1], numbers[2]), fds


class _Child(NamedTuple):
    pid: int
    # What it was asked for by.
    number: int
    # Whether its process group goes on if a signal ends it.
    spared: bool


class Forker:
    """The loop of a template; what its children are is for subclasses to say."""

    def __init__(self, control: socket.socket, lifeline: int) -> None:
        """Take what `take_control` gave, and the lifeline of this process."""
        self._control = control
        self._lifeline = lifeline
        # By pidfd.
        self._children: dict[int, _Child] = {}
        self._going = False
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def be_child(self, number: int, fds: list[int]) -> NoReturn:
        """Be what was asked for, with the descriptors that came along."""
        raise NotImplementedError

    def before_fork(self, number: int, fds: list[int]) -> None:
        """Keep what is needed of the descriptors, which will be closed; OSError: do not fork."""

    def not_forked(self, number: int) -> None:
        """Let go of what was kept: there is no such child after all."""

    def start(self, number: int, fds: list[int]) -> int:
        """Start a child and return its pid."""
        pid = os.fork()
        if pid == 0:
            self._begin(number, fds)
        return pid

    def go(self) -> None:
        """Do what is to be done before this process ends."""

    def tell_end(self, number: int, how: int, code: int) -> None:
        """Say that a child has ended."""
        raise NotImplementedError

    def serve(self) -> NoReturn:
        """Fork on demand and reap, until told to go and nobody is left."""
        self.send(SERVING, 0)
        while not self._going or self._children:
            for fd, _ in self._poll.poll():
                if fd in self._children:
                    self._reap(fd)
                elif fd == self._control.fileno():
                    self._obey()
        try:
            self.go()
        finally:
            os._exit(0)

    def send(self, kind: int, number: int, *numbers: int, fd: int = -1) -> None:
        """Report over the control socket."""
        first, second = (*numbers, 0, 0)[:2]
        message = MESSAGE.pack(kind, number, first, second)
        try:
            socket.send_fds(self._control, [message], [fd] if fd >= 0 else [])
        except (BrokenPipeError, ConnectionResetError):
            # The user's process is gone, and the children with their lifelines.
            os._exit(1)

    def _obey(self) -> None:
        kind, numbers, fds = _receive(self._control)
        if kind == GO:
            self._going = True
            self._poll.unregister(self._control)
            return
        assert kind == FORK, kind
        if fds is None:
            self.send(NOT_FORKED, numbers[0], errno.EMFILE)
            return
        self._fork(numbers[0], fds, spared=numbers[1] != 0)
        for fd in fds:
            os.close(fd)

    def _fork(self, number: int, fds: list[int], *, spared: bool) -> None:
        try:
            self.before_fork(number, fds)
            pid = self.start(number, fds)
        except OSError as error:
            self.not_forked(number)
            self.send(NOT_FORKED, number, error.errno or 0)
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self.not_forked(number)
            self.send(NOT_FORKED, number, error.errno or 0)
            return
        self._children[pidfd] = _Child(pid, number, spared)
        self._poll.register(pidfd, select.POLLIN)
        self.send(FORKED, number, pid, fd=pidfd)

    def _begin(self, number: int, fds: list[int]) -> NoReturn:
        try:
            # Nothing of the other children, nor a voice of the template.
            self._control.close()
            os.close(self._lifeline)
            for pidfd in self._children:
                os.close(pidfd)
            self.be_child(number, fds)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _reap(self, pidfd: int) -> None:
        pid, number, spared = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        # Not reaped yet, so that the number of its group is still its own.
        status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        how, code = KILLED, 0
        if status is not None:
            how = EXITED if status.si_code == os.CLD_EXITED else KILLED
            code = status.si_status
        if how == KILLED and not spared:
            # Whatever it had started would go on without it.
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own
                os.killpg(pid, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        self.tell_end(number, how, code)
