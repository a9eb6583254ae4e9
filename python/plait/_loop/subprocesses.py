"""Subprocesses: asyncio's transport, with the end of the child seen by the loop itself.

A pidfd becomes readable when its process ends, so the loop waits for a child
as it waits for a socket: with no thread, no signal handler and no child
watcher, in whatever thread it runs. The status is taken through the pidfd
too: a number can be another process's by then.
"""

from __future__ import annotations

import asyncio
import asyncio.base_subprocess
import asyncio.log
import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait._loop.loop import EventLoop

__all__ = ["SubprocessesMixin"]

# What asyncio reports of a child whose status somebody else has taken.
_STATUS_UNKNOWN = 255


class SubprocessTransport(asyncio.base_subprocess.BaseSubprocessTransport):
    """A child process and its pipes."""

    _pidfd: int | None = None
    _connecting = False

    if TYPE_CHECKING:
        # What asyncio's class keeps, and the type library leaves out.
        _loop: EventLoop | None  # type: ignore[assignment]
        _proc: subprocess.Popen[bytes] | None
        _pid: int | None
        _returncode: int | None
        _closed: bool
        _check_proc: Callable[[], None]
        _pipes: dict[int, Any]
        _exit_waiters: list[asyncio.Future[Any]]

    def _start(
        self,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **kwargs: Any,
    ) -> None:
        self._proc = subprocess.Popen(
            args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **kwargs
        )
        try:
            self._watch()
        except BaseException:
            # Nobody would learn of its end.
            self._proc.kill()
            self._proc.wait()
            self._forget_pidfd()
            _close_pipes(self._proc)
            raise

    def _watch(self) -> None:
        assert self._proc is not None
        assert self._loop is not None
        try:
            self._pidfd = os.pidfd_open(self._proc.pid)
        except OSError:
            # An old kernel, a sandbox, or no descriptor left.
            threading.Thread(
                target=self._wait_in_thread,
                args=(self._loop, self._proc.pid),
                name=f"plait-waitid-{self._proc.pid}",
                daemon=True,
            ).start()
        else:
            self._loop._children.add(self)
            self._loop._add_reader(self._pidfd, self._on_exit)

    def _wait_in_thread(self, loop: EventLoop, pid: int) -> None:
        # It only waits: the status stays for the loop's thread to take. An
        # error says that there is nothing left to take, so not to wait for.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        try:
            loop.call_soon_threadsafe(self._on_exit)
        except RuntimeError:
            asyncio.log.logger.warning("Loop %r that handles pid %r is closed", loop, pid)
            self._reap()

    def _reap(self) -> int | None:
        """Return how the process ended, None if it has not."""
        proc = self._proc
        assert proc is not None
        try:
            # Popen takes it too, in poll().
            if proc.returncode is None:
                if self._pidfd is not None:
                    ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
                else:
                    ended = os.waitid(os.P_PID, proc.pid, os.WEXITED | os.WNOHANG)
                if ended is None:
                    return None
                exited = ended.si_code == os.CLD_EXITED
                proc.returncode = ended.si_status if exited else -ended.si_status
        except ChildProcessError:
            if proc.returncode is None:
                proc.returncode = _STATUS_UNKNOWN
                asyncio.log.logger.warning(
                    "child process pid %d exit status already read: will report returncode %d",
                    proc.pid,
                    _STATUS_UNKNOWN,
                )
        return proc.returncode

    def _on_exit(self) -> None:
        if self._closed and self._loop is not None and self._loop.is_closed():
            return
        returncode = self._reap()
        if returncode is None:
            return
        self._forget_pidfd()
        # Not before what the pipes gave in this turn.
        assert self._loop is not None
        self._loop.call_soon(self._process_exited, returncode)

    def _process_exited(self, returncode: int) -> None:
        super()._process_exited(returncode)
        self._wake_if_unread()

    def _pipe_data_received(self, fd: int, data: bytes) -> None:
        super()._pipe_data_received(fd, data)
        if self._returncode is not None:
            self._wake_if_unread()

    def _wake_if_unread(self) -> None:
        """Wake who waits for a process that has ended, but nobody reads what it left.

        asyncio wakes them once every pipe has ended as well. One which is full
        does when it is read to its end, so perhaps never; one that was not
        connected before `close` never does.
        """
        unread = any(_is_left(self._pipes[fd].pipe) for fd in (1, 2) if self._pipes.get(fd))
        unmade = self._closed and None in self._pipes.values()
        if (unread or unmade) and self._exit_waiters:
            waiters, self._exit_waiters = self._exit_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(self._returncode)

    async def _connect_pipes(self, waiter: asyncio.Future[None] | None) -> None:
        self._connecting = True
        try:
            await super()._connect_pipes(waiter)
        finally:
            self._connecting = False
            if self._closed:
                # By whom it was made for; what was connected since has not heard of it.
                for protocol in self._pipes.values():
                    if protocol is not None:
                        protocol.pipe.close()
                self._close_unconnected()

    def _close_unconnected(self) -> None:
        """Close what the transports of the pipes would have closed, had they been made.

        Not while they are made: a pipe that has its transport is not among
        `_pipes` yet, and its number would be closed under it.
        """
        if self._proc is None or self._connecting:
            # All of them have ended, or whoever connects them closes them.
            return
        files = (self._proc.stdin, self._proc.stdout, self._proc.stderr)
        for fd, file in enumerate(files):
            if file is not None and self._pipes.get(fd) is None:
                file.close()

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            pidfd, self._pidfd = self._pidfd, None
            if self._loop is not None:
                self._loop._children.discard(self)
                self._loop.remove_reader(pidfd)
            os.close(pidfd)

    def _leave_loop(self) -> None:
        """Let go of the pidfd: the loop is closed, and tells nobody of the end any more.

        One that is not closed yet lets go of it, and of the process, in `close`.
        """
        if not self._closed:
            return
        assert self._loop is not None
        if not self._loop._is_others():
            self._reap()
        self._forget_pidfd()

    def close(self) -> None:
        """Close the pipes, and kill the process if it runs."""
        if self._closed or self._loop is None or not self._loop.is_closed():
            super().close()
            return
        # The pipes' transports end in a turn of the loop, and no turn comes.
        self._closed = True
        proc = self._proc
        if proc is None:
            return
        if proc.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                proc.kill()
        self._forget_pidfd()
        _close_pipes(proc)

    def send_signal(self, signal: int) -> None:
        """Send `signal` to the process; one that has ended is fine.

        Raises:
            ProcessLookupError: The protocol was told of the end already.

        """
        self._check_proc()
        assert self._proc is not None
        if self._proc.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                _send_signal(self._pidfd, signal)
            else:
                os.kill(self._proc.pid, signal)

    def terminate(self) -> None:
        """Ask the process to end: SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process: SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _is_left(pipe: Any) -> bool:
    """Whether it is open still, but nobody reads it. One that has ended does not read either."""
    return pipe is not None and not pipe.is_closing() and not pipe.is_reading()


def _send_signal(pidfd: int, sig: int) -> None:
    signal.pidfd_send_signal(pidfd, sig)


def _close_pipes(proc: subprocess.Popen[bytes]) -> None:
    for pipe in (proc.stdin, proc.stdout, proc.stderr):
        if pipe is not None:
            pipe.close()


class SubprocessesMixin:
    """What `asyncio.BaseEventLoop` asks of a loop for `subprocess_exec` and its sister."""

    if TYPE_CHECKING:
        create_future: Callable[[], asyncio.Future[Any]]
        _is_finalizing: Callable[[], bool]
        _made_in: int

    def _init_children(self) -> None:
        # Those that have a pidfd.
        self._children: set[SubprocessTransport] = set()

    def _is_others(self) -> bool:
        """Whether the children are those of the process that this one was forked from."""
        return self._made_in != os.getpid()

    def _close_children(self) -> None:
        if self._is_finalizing():
            # The process ends, and its descriptors with it.
            return
        children, self._children = self._children, set()
        for child in children:
            child._leave_loop()

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> SubprocessTransport:
        waiter = self.create_future()
        transport = SubprocessTransport(
            self,  # type: ignore[arg-type]
            protocol,
            args,
            shell,
            stdin,
            stdout,
            stderr,
            bufsize,
            waiter=waiter,
            extra=extra,
            **kwargs,
        )
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            transport._close_unconnected()
            raise
        return transport
