"""Subprocesses, on plait's loop and, as the model, on asyncio's."""

import asyncio
import contextlib
import errno
import gc
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings

import pytest
from both_loops import turns

import plait

PIPE = asyncio.subprocess.PIPE


def run_plait(main):
    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, 60))


def python(code, *args, **kwargs):
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, *args, **kwargs)


def pidfds():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += "pidfd" in os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return found


def test_communicate(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        data = os.urandom(1_000_000)
        assert await process.communicate(data) == (data, None)
        assert process.returncode == 0
        assert await process.wait() == 0
        # The transport lets go of the process in the turn after.
        await turns()
        # Nothing is sent, to whatever has its number now.
        with pytest.raises(ProcessLookupError):
            process.kill()

    run(main())


def test_shell_and_both_outputs(run):
    async def main():
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE
        )
        assert await process.communicate() == (b"out\n", b"err\n")
        assert process.returncode == 3
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2", stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert await process.communicate() == (b"out\nerr\n", None)
        process = await asyncio.create_subprocess_shell(
            "read line || exit 4", stdin=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 4

    run(main())


@pytest.mark.parametrize(
    ("stop", "number"),
    [
        (lambda process: process.kill(), signal.SIGKILL),
        (lambda process: process.terminate(), signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGUSR1), signal.SIGUSR1),
        (lambda process: os.kill(process.pid, signal.SIGHUP), signal.SIGHUP),
    ],
)
def test_signals(run, stop, number):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        assert process.returncode is None
        stop(process)
        assert await process.wait() == -number

    run(main())


def test_arguments_are_passed_through(run, tmp_path):
    async def main():
        read, write = os.pipe()
        code = (
            "import os, sys; os.write(int(sys.argv[1]), b'x');"
            "print(os.getcwd(), os.environ['GREETING'], os.getsid(0) == os.getpid())"
        )
        process = await python(
            code,
            str(write),
            cwd=tmp_path,
            env={"GREETING": "hi"},
            pass_fds=[write],
            start_new_session=True,
            stdout=PIPE,
        )
        os.close(write)
        out, _ = await process.communicate()
        assert out.decode().split() == [str(tmp_path), "hi", "True"]
        assert os.read(read, 10) == b"x"
        os.close(read)

    run(main())


def test_preexec_fn(run):
    async def main():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process = await asyncio.create_subprocess_shell(
                "umask", preexec_fn=lambda: os.umask(0o37), stdout=PIPE
            )
        assert (await process.communicate())[0].strip() == b"0037"

    run(main())


def test_what_cannot_be_executed_leaves_nothing_open(run, tmp_path):
    async def main():
        before = len(os.listdir("/proc/self/fd"))
        (tmp_path / "text").write_text("no program")
        for program, error in [
            (tmp_path / "missing", FileNotFoundError),
            (tmp_path / "text", PermissionError),
        ]:
            with pytest.raises(error):
                await asyncio.create_subprocess_exec(program, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert len(os.listdir("/proc/self/fd")) == before

    run(main())


@pytest.mark.parametrize("count", range(1, 8))
def test_all_tasks_may_be_cancelled_while_one_is_made(count):
    """At the end of `asyncio.run`, say: asyncio waits for pipes that nobody connects any more."""

    async def main():
        before = len(os.listdir("/proc/self/fd"))
        others = asyncio.all_tasks()
        making = asyncio.create_task(
            asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )
        await turns(count)
        tasks = asyncio.all_tasks() - others
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await making).kill()
        await asyncio.gather(*tasks, return_exceptions=True)
        del making, tasks
        await turns()
        assert len(os.listdir("/proc/self/fd")) <= before

    run_plait(main())


@pytest.mark.parametrize("count", range(1, 12))
def test_the_numbers_of_one_given_up_while_it_is_made_are_free(count):
    """On asyncio's loop its pipes stay open where they were connected after the cancel."""

    async def main():
        loop = asyncio.get_running_loop()
        before = len(os.listdir("/proc/self/fd"))
        making = asyncio.create_task(
            asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        )
        await turns(count)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            process = await making
            process._transport.close()
            await process.wait()
        # No transport believes that a number is its own which somebody else has by now.
        pairs = [socket.socketpair() for _ in range(6)]
        for end in itertools.chain(*pairs):
            loop.add_reader(end.fileno(), int)
        await turns()
        for end in itertools.chain(*pairs):
            assert loop.remove_reader(end.fileno())
            end.close()
        await turns()
        assert len(os.listdir("/proc/self/fd")) <= before

    run_plait(main())


def test_many_at_once_leave_nothing_open(run):
    async def one(number):
        process = await asyncio.create_subprocess_shell(
            f"cat; exit {number}", stdin=PIPE, stdout=PIPE
        )
        out, _ = await process.communicate(b"%d" % number)
        return int(out), process.returncode

    async def main():
        before = len(os.listdir("/proc/self/fd"))
        answers = await asyncio.gather(*(one(number) for number in range(20)))
        assert answers == [(number, number) for number in range(20)]
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= before

    run(main())


def test_the_order_of_callbacks(run):
    class Recorder(asyncio.SubprocessProtocol):
        def __init__(self):
            self.calls = []
            self.ended = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            self.calls.append("made")

        def pipe_data_received(self, fd, data):
            self.calls.append((fd, data))

        def pipe_connection_lost(self, fd, error):
            self.calls.append(("lost", fd))

        def process_exited(self):
            self.calls.append("exited")

        def connection_lost(self, error):
            self.calls.append("lost")
            self.ended.set_result(error)

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            Recorder, "sh", "-c", "echo hello", stdin=None, stderr=None
        )
        assert await protocol.ended is None
        calls = protocol.calls
        assert calls[0] == "made"
        assert calls[-1] == "lost"
        assert sorted(map(str, calls[1:-1])) == sorted(
            map(str, [(1, b"hello\n"), ("lost", 1), "exited"])
        )
        assert calls.index((1, b"hello\n")) < calls.index(("lost", 1))
        assert transport.get_returncode() == 0
        transport.close()

    run(main())


def test_a_child_that_reads_nothing(run):
    async def main():
        process = await asyncio.create_subprocess_exec("true", stdin=PIPE)
        await process.communicate(bytes(1_000_000))
        assert process.returncode == 0

    run(main())


def test_the_end_of_the_input_reaches_the_child(run):
    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        process.stdin.write(b"one\ntwo")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"one\n"
        process.stdin.write_eof()
        assert await process.stdout.read() == b"two"
        await process.stdin.wait_closed()
        assert await process.wait() == 0

    run(main())


def test_cancelled_communicate(run):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "1000", stdin=PIPE, stdout=PIPE)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.communicate(bytes(1_000_000)), 0.01)
        process.kill()
        await process.communicate()
        assert process.returncode == -signal.SIGKILL

    run(main())


@pytest.mark.parametrize("ends", ["before", "after"])
def test_wait_for_a_child_whose_output_nobody_reads(ends):
    """asyncio's wait never ends: the output fills the reader, which then pauses its pipe."""

    async def main():
        # What is more than twice the limit of the reader, and less than a pipe holds.
        script = f"head -c {50_000} /dev/zero; {'' if ends == 'before' else 'exec sleep 1000'}"
        child = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=PIPE, limit=10_000)
        waiting = asyncio.ensure_future(child.wait())
        if ends == "after":
            pipe = child._transport.get_pipe_transport(1)
            while pipe.is_reading():
                await asyncio.sleep(0.001)
            child.kill()
        assert await waiting == (0 if ends == "before" else -signal.SIGKILL)
        # It is still there, for whoever wants it.
        assert len(await child.stdout.read()) == 50_000
        assert await child.wait() == waiting.result()

    plait.run(asyncio.wait_for(main(), 30))


def test_cancelled_wait_can_wait_again(run):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    run(main())


def test_cancelled_start_kills_the_child():
    async def main():
        starting = asyncio.create_task(asyncio.create_subprocess_exec("sleep", "1000"))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # noqa: ASYNC222

    run_plait(main())


def test_in_another_thread(run):
    answers = []

    def work():
        async def main():
            process = await asyncio.create_subprocess_exec("echo", "hi", stdout=PIPE)
            return await process.communicate()

        answers.append(run(main()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert answers == [(b"hi\n", None)]


def test_a_status_that_somebody_else_took(caplog):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)  # noqa: ASYNC222
        assert await process.wait() == 255
        assert process.returncode == 255

    with caplog.at_level(logging.WARNING, "asyncio"):
        run_plait(main())
    assert "exit status already read" in caplog.text
    assert pidfds() == 0


def test_the_status_that_popen_took_is_the_status(caplog):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        popen = process._transport.get_extra_info("subprocess")
        popen.kill()
        popen.wait()
        assert await process.wait() == -signal.SIGKILL
        assert popen.returncode == -signal.SIGKILL

    with caplog.at_level(logging.WARNING, "asyncio"):
        run_plait(main())
    assert caplog.text == ""


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
def test_without_pidfd_a_thread_waits(monkeypatch, caplog, number):
    def refuse(pid, flags=0):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse)

    # asyncio's own loop may have left futures that are reported when they are collected.
    gc.collect()
    caplog.clear()

    async def main():
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        names = [thread.name for thread in threading.enumerate()]
        assert f"plait-waitid-{process.pid}" in names
        assert await process.communicate(b"x") == (b"x", None)
        assert process.returncode == 0
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        process.terminate()
        assert await process.wait() == -signal.SIGTERM
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        # While its waiter waits too: one of the two gets the status.
        process._transport.get_extra_info("subprocess").kill()
        process._transport.get_extra_info("subprocess").wait()
        assert await process.wait() == -signal.SIGKILL

    run_plait(main())
    assert caplog.text == ""


def test_no_thread_starts_and_no_child_stays(monkeypatch):
    started = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (started.append(self), start(self))[1]
    )

    async def main():
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()

    run_plait(main())
    assert started == []
    assert pidfds() == 0


def test_loop_closed_while_a_child_runs():
    loop = plait.new_event_loop()

    async def main():
        return await asyncio.create_subprocess_exec("sleep", "1000", stdin=PIPE, stdout=PIPE)

    process = loop.run_until_complete(main())
    popen = process._transport.get_extra_info("subprocess")
    loop.close()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del process
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in said)
    assert popen.wait(60) == -signal.SIGKILL
    assert popen.stdin.closed
    assert popen.stdout.closed
    assert pidfds() == 0


def test_what_is_closed_with_its_loop_leaves_nothing_open():
    """The end of the child comes when nobody looks for it any more."""
    processes = []

    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        processes.append(transport.get_extra_info("subprocess"))
        # As a child that does not end in time.
        processes[-1].kill = lambda: None
        transport.close()

    for _ in range(3):
        run_plait(main())
    gc.collect()
    assert pidfds() == 0
    for process in processes:
        assert process.poll() is None
        subprocess.Popen.kill(process)
        assert process.wait(60) == -signal.SIGKILL


def test_a_child_that_has_ended_is_reaped_with_its_loop():
    loop = plait.new_event_loop()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
    )
    process = transport.get_extra_info("subprocess")
    transport.close()
    # Its status stays for the loop to take, which has no turn any more.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    loop.close()
    assert process.returncode == -signal.SIGKILL
    assert pidfds() == 0


def test_close_kills(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "1000", stdin=None, stdout=None, stderr=None
        )
        popen = transport.get_extra_info("subprocess")
        assert isinstance(popen, subprocess.Popen)
        transport.close()
        assert transport.is_closing()
        assert await transport._wait() == -signal.SIGKILL

    run(main())


def test_arguments_that_asyncio_refuses(run):
    async def main():
        for wrong in ({"universal_newlines": True}, {"text": True}, {"bufsize": 1}):
            with pytest.raises(ValueError, match="must be"):
                await asyncio.get_running_loop().subprocess_exec(
                    asyncio.SubprocessProtocol, "true", **wrong
                )

    run(main())
