"""The template that the processes of this process are forked by."""

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import weakref
from multiprocessing import active_children, util
from typing import NamedTuple

from plait import _lifelines, _setting
from plait._binding import native
from plait._interrupt import ends_by_interrupt
from plait._worker.passing import receive_fds
from plait._worker.protocol import FORK, FORKED, GO, MESSAGE, NOT_FORKED, SERVE

__all__ = ["Forked", "Template", "is_open", "is_readable", "launcher", "packets"]

# Variables that count only when a program is executed, so that a template executed before they
# changed is of no use any more.
_OF_EXECUTION = (b"LD_", b"MALLOC_", b"GLIBC_TUNABLES", b"PYTHON")
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
# More than this many died in a row before they served: no other will do better.
_ATTEMPTS = 3


class Forked(NamedTuple):
    """A process that waits to be told what it is."""

    pid: int
    pidfd: int
    template: "Template"


class TemplateError(RuntimeError):
    """No template process can be started."""


class Template:
    """A template process, seen from its parent."""

    def __init__(self) -> None:
        """Execute it."""
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as passed:
            self.control, theirs = packets()
            undo.callback(self.control.close)
            passed.callback(theirs.close)
            self._lifeline, their_line = native.Lifeline.make()
            undo.callback(self._lifeline.cut)
            passed.callback(os.close, their_line)
            self.pid = _execute(theirs.fileno())
            undo.callback(os.waitpid, self.pid, 0)
            undo.callback(os.kill, self.pid, signal.SIGKILL)
            self.pidfd = os.pidfd_open(self.pid)
            serve = MESSAGE.pack(SERVE, os.getpid(), 0, 0)
            # It may be gone again: then what is asked of it finds that out.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self.control, [serve], [their_line])
            undo.pop_all()
        self.reaped = False
        # It is kept by the processes that it has forked, too.
        weakref.finalize(self, os.close, self.pidfd).atexit = False

    def has_ended(self) -> bool:
        """Whether it is gone; then it is reaped."""
        if not self.reaped and is_readable(self.pidfd):
            # Somebody may wait for all children there are.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            self.reaped = True
            self._lifeline.cut()
        return self.reaped

    def retire(self) -> None:
        """Have it leave when the processes that it has forked have ended."""
        with contextlib.suppress(OSError):  # it is gone
            self.control.send(MESSAGE.pack(GO, 0, 0, 0))
        self.control.close()

    def kill(self) -> None:
        """End it, now."""
        self.control.close()
        while not self.has_ended():
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            select.select([self.pidfd], [], [])

    def abandon(self) -> None:
        """Let go of it in a forked child, which has nothing to do with it."""
        self.control.close()
        self.reaped = True


def _execute(control: int) -> int:
    """Start a template with that descriptor as its standard input; return its number."""
    executable = _setting.executable()
    arguments = [executable, *_setting.arguments("plait._worker.process_template")]
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]]
    actions = [(os.POSIX_SPAWN_DUP2, control, 0)]
    for number in (1, 2):
        # It must find all three, or other descriptors would get their numbers.
        if not is_open(number):
            actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0))
    return os.posix_spawn(
        executable, arguments, os.environ, file_actions=actions, setpgroup=0, setsigmask=()
    )


def packets() -> tuple[socket.socket, socket.socket]:
    """Make a pair of sockets that keep messages apart, and that wait for each other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(True)  # whatever `socket.setdefaulttimeout` was told
    return ours, theirs


def is_open(fd: int) -> bool:
    """Whether that number is an open descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def is_readable(fd: int, timeout: float | None = 0) -> bool:
    """Wait for a descriptor, at most as many seconds; return whether it is readable."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _fingerprint() -> object:
    """Take down what processes inherit of their template, and it of this process."""
    return (
        sys.executable,
        os.getresuid(),
        os.getresgid(),
        os.getgroups(),
        os.getsid(0),
        os.sched_getaffinity(0),
        [resource.getrlimit(limit) for limit in _LIMITS],
        sorted(item for item in os.environb.items() if item[0].startswith(_OF_EXECUTION)),
    )


class Launcher:
    """Forks by a template that is like this process, starting one where there is none."""

    def __init__(self) -> None:
        """Start nothing yet."""
        # Reentrant: a signal handler may start a process, and comes while one is being started.
        self._lock = threading.RLock()
        self._template: Template | None = None
        self._fingerprint: object = None
        self._retired: list[Template] = []
        self._stops_at_exit = False
        self._last = 0
        # Who has asked, and what was answered to others than who asked last.
        self._answers: dict[int, tuple[int, int, int] | None] = {}

    def fork(self, channel: int, lifeline: int, *, spared: bool) -> Forked:
        """Fork a process that is going to be told over the channel what it is.

        Args:
            channel: its end of the channel.
            lifeline: its end of the lifeline.
            spared: whether its process group goes on if a signal ends it.

        Raises:
            OSError: the kernel refuses.
            TemplateError: no template can be started.

        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                template = self._current()
                answer = self._ask(template, channel, lifeline, spared)
                if answer is not None:
                    return answer
                # It died; nothing that it has forked for us can have begun.
            raise TemplateError(
                f"the template process ({sys.executable}) could not start: see what it has "
                f"written to standard error"
            )

    def _current(self) -> Template:
        """Return a template that is of use."""
        self._retired = [template for template in self._retired if not template.has_ended()]
        fingerprint = _fingerprint()
        template = self._template
        if template is not None and template.has_ended():
            template.control.close()
            template = None
        elif template is not None and fingerprint != self._fingerprint:
            template.retire()
            self._retired.append(template)
            template = None
        if template is None:
            template = self._template = Template()
            self._fingerprint = fingerprint
            if not self._stops_at_exit:
                # Before processes are joined, and after that and the user's finalizers.
                util.Finalize(None, _pass_interrupt_on, exitpriority=1000)
                util.Finalize(None, self.stop, exitpriority=-1000)
                self._stops_at_exit = True
        return template

    def _ask(self, template: Template, channel: int, lifeline: int, spared: bool) -> Forked | None:
        """Have it fork; None if it has died."""
        self._last += 1
        number = self._last
        self._answers[number] = None
        try:
            try:
                message = MESSAGE.pack(FORK, number, spared, 0)
                socket.send_fds(template.control, [message], [channel, lifeline])
            except (BrokenPipeError, ConnectionResetError):
                answer = None
            else:
                answer = self._answer(template, number)
        finally:
            del self._answers[number]
        if answer is None:
            template.kill()
            self._template = None
            return None
        kind, first, pidfd = answer
        if kind == NOT_FORKED:
            raise OSError(first, f"{os.strerror(first)}: the template process cannot fork")
        if pidfd < 0:
            raise OSError("too many open files: a process was forked and could not be received")
        return Forked(first, pidfd, template)

    def _answer(self, template: Template, number: int) -> tuple[int, int, int] | None:
        """Wait for the answer to that number; None if there is none to come."""
        while (answer := self._answers[number]) is None:
            # A signal handler that starts a process may come between any two
            # steps here and take in our answer: so no wait is for ever.
            if is_readable(template.control.fileno(), 0.05) and not self._hear(template):
                return None
        return answer

    def _hear(self, template: Template) -> bool:
        """Take its next answer; False if there is none to come."""
        try:
            message, fds, _ = receive_fds(template.control, MESSAGE.size, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not message:
            return False
        kind, number, first, _ = MESSAGE.unpack(message)
        fd = fds[0] if fds else -1
        if kind in (FORKED, NOT_FORKED) and number in self._answers:
            self._answers[number] = (kind, first, fd)
        elif fd >= 0:
            # Whoever asked was interrupted, and has cut the lifeline.
            os.close(fd)
        return True

    def stop(self) -> None:
        """End all templates, and with them whatever has not ended yet."""
        with self._lock:
            templates, self._retired = self._retired, []
            if self._template is not None:
                templates.append(self._template)
                self._template = None
            for template in templates:
                template.kill()

    def abandon(self) -> None:
        """Let go of everything, in a forked child."""
        for template in (*self._retired, self._template):
            if template is not None:
                template.abandon()


def _pass_interrupt_on() -> None:
    """Interrupt what leads a group of its own, if the interpreter ends by a Ctrl-C.

    The terminal has done that to the other processes.
    """
    if ends_by_interrupt():
        for process in active_children():
            leads = getattr(process._popen, "leads_group", False)  # type: ignore[attr-defined]
            if leads:
                process._popen.interrupt()  # type: ignore[attr-defined]


launcher = Launcher()


def _after_fork_in_child() -> None:
    global launcher
    launcher.abandon()
    launcher = Launcher()


_lifelines.guard()
os.register_at_fork(after_in_child=_after_fork_in_child)
