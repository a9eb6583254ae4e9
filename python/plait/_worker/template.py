"""The template: a clean process of one thread that forks the workers.

It is executed by the pool's supervisor with a socket as its standard input,
over which it is asked to fork and reports who began and who ended. It is the
parent of the workers, so it alone can reap them.
"""

import contextlib
import fcntl
import gc
import marshal
import os
import select
import signal
import socket
import sys
from multiprocessing import process as _multiprocessing_process  # workers tell who they are
from typing import NoReturn

from plait._worker import worker
from plait._worker.protocol import (
    EXITED,
    FORK,
    FORKED,
    GO,
    GONE,
    KILLED,
    MESSAGE,
    NOT_FORKED,
    SERVE,
    SERVING,
    Settings,
)

__all__ = ["main"]

assert _multiprocessing_process

_MAX_FDS = 4


def main() -> NoReturn:
    """Serve the pool at the other end of standard input until it says go."""
    # What the user's process lets its children inherit is not for workers.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    kind, numbers, fds = _receive(control)
    assert kind == SERVE, kind
    settings_fd, bell, lifeline = fds
    tie(lifeline)
    _reset_signals()
    with open(settings_fd, "rb") as file:
        settings: Settings = marshal.loads(file.read())
    sys.argv[:] = settings["argv"]
    # What is here now is here for good: workers share its pages as long as
    # no collection touches them.
    gc.collect()
    gc.freeze()
    _send(control, SERVING, 0)
    _Template(control, bell, lifeline, settings, numbers[0]).serve()


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


def _reset_signals() -> None:
    """Undo what the user's process ignores or blocks, except what Python ignores."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


def _send(control: socket.socket, kind: int, worker_id: int, *numbers: int, fd: int = -1) -> None:
    first, second = (*numbers, 0, 0)[:2]
    message = MESSAGE.pack(kind, worker_id, first, second)
    try:
        socket.send_fds(control, [message], [fd] if fd >= 0 else [])
    except (BrokenPipeError, ConnectionResetError):
        # The pool is gone, and its workers with their lifelines.
        os._exit(1)


def _receive(control: socket.socket) -> tuple[int, tuple[int, int, int], list[int]]:
    message, fds, _, _ = socket.recv_fds(control, MESSAGE.size, _MAX_FDS)
    if not message:
        os._exit(1)
    kind, *numbers = MESSAGE.unpack(message)
    return kind, (numbers[0], numbers[1], numbers[2]), fds


class _Template:
    """The loop, and what it must know of each worker: its pidfd, pid and number."""

    def __init__(
        self,
        control: socket.socket,
        bell: int,
        lifeline: int,
        settings: Settings,
        parent_pid: int,
    ) -> None:
        self._control = control
        self._bell = bell
        self._lifeline = lifeline
        self._settings = settings
        self._parent_pid = parent_pid
        self._workers: dict[int, tuple[int, int]] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> NoReturn:
        """Fork on demand and reap, until told to go."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._workers:
                    self._reap(fd)
                elif fd == self._control.fileno():
                    self._obey()

    def _obey(self) -> None:
        kind, numbers, fds = _receive(self._control)
        if kind == GO:
            os._exit(0)
        assert kind == FORK, kind
        memory, lifeline = fds
        self._fork(numbers[0], memory, lifeline)
        os.close(memory)
        os.close(lifeline)

    def _fork(self, worker_id: int, memory: int, lifeline: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            _send(self._control, NOT_FORKED, worker_id, error.errno or 0)
            return
        if pid == 0:
            self._become_worker(worker_id, memory, lifeline)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            _send(self._control, NOT_FORKED, worker_id, error.errno or 0)
            return
        self._workers[pidfd] = (pid, worker_id)
        self._poll.register(pidfd, select.POLLIN)
        _send(self._control, FORKED, worker_id, pid, fd=pidfd)

    def _become_worker(self, worker_id: int, memory: int, lifeline: int) -> NoReturn:
        try:
            os.setpgid(0, 0)
            tie(lifeline)
            # Nothing of the other workers, nor a voice of the template.
            self._control.close()
            os.close(self._lifeline)
            for pidfd in self._workers:
                os.close(pidfd)
            worker.main(memory, self._bell, lifeline, worker_id, self._parent_pid, self._settings)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def _reap(self, pidfd: int) -> None:
        pid, worker_id = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        # Not reaped yet, so that the number of its group is still its own.
        status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        how, code = KILLED, 0
        if status is not None:
            how = EXITED if status.si_code == os.CLD_EXITED else KILLED
            code = status.si_status
        if how == KILLED:
            # Whatever it had started would go on without it.
            with contextlib.suppress(ProcessLookupError):  # it had no group yet
                os.killpg(pid, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        _send(self._control, GONE, worker_id, how, code)
