"""Signals in the loop. Signals that would end this process are sent to a child."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

import plait


@pytest.fixture
def loop(factory):
    loop = factory()
    yield loop
    loop.close()
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("sig", [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM])
def test_handler_runs_in_the_loop_with_its_arguments(loop, sig):
    seen = []
    before = signal.getsignal(sig)
    loop.add_signal_handler(sig, lambda *args: (seen.append(args), loop.stop()), 1, 2)
    loop.call_soon(os.kill, os.getpid(), sig)
    loop.run_forever()
    assert seen == [(1, 2)]
    assert loop.remove_signal_handler(sig) is True
    assert loop.remove_signal_handler(sig) is False
    assert signal.getsignal(sig) == before


def test_between_two_runs_a_signal_is_kept(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append(1), loop.stop()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    assert seen == [1]


def wakeup_fd():
    """Return the descriptor that signals are written to."""
    current = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(current)
    return current


@pytest.mark.parametrize("runs", [False, True])
def test_without_handlers_no_signal_is_written(loop, runs):
    """A number that Python writes to could be another descriptor's later."""
    assert wakeup_fd() == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    assert wakeup_fd() != -1
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert wakeup_fd() != -1
    if runs:
        loop.call_soon(lambda: (loop.remove_signal_handler(signal.SIGUSR2), loop.stop()))
        loop.run_forever()
    else:
        loop.remove_signal_handler(signal.SIGUSR2)
    assert wakeup_fd() == -1


def test_what_cannot_be_caught_leaves_nothing(loop):
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    assert wakeup_fd() == -1
    loop.add_signal_handler(signal.SIGUSR1, print)
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    assert wakeup_fd() != -1


def test_close_puts_the_default_back(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_python_handlers_run_while_the_loop_sleeps():
    """One set by `signal.signal`, with nothing else to wake the loop: asyncio's sleeps on."""
    loop = plait.new_event_loop()
    before = signal.signal(signal.SIGUSR2, lambda *_: loop.call_soon(loop.stop))
    try:
        killer = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR2))
        loop.call_soon(killer.start)
        loop.run_forever()
        killer.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
        loop.close()


def test_bad_requests(loop):
    async def coroutine():
        pass

    with pytest.raises(ValueError, match="invalid signal number"):
        loop.add_signal_handler(0, print)
    with pytest.raises(ValueError, match="invalid signal number"):
        loop.remove_signal_handler(1000)
    with pytest.raises(TypeError, match="must be an int"):
        loop.add_signal_handler("SIGINT", print)
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.add_signal_handler(signal.SIGUSR1, coroutine)
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    assert not loop.remove_signal_handler(signal.SIGKILL)


def test_other_threads_are_refused(loop):
    errors = []

    def add():
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_a_wakeup_descriptor_of_somebody_else_is_put_back():
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    with a, b:
        signal.set_wakeup_fd(b.fileno())
        try:
            plait.run(asyncio.sleep(0))
        finally:
            assert signal.set_wakeup_fd(-1) == b.fileno()


def child(code):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_cancels_the_main_task_and_ends_with_one_traceback():
    process = child(
        """
        import asyncio, plait

        async def main():
            try:
                print("ready", flush=True)
                await asyncio.sleep(1000)
            finally:
                print("cleaned", flush=True)

        plait.run(main())
        """
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "cleaned\n"
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    # One storm of tracebacks less: the chain that asyncio.Runner makes, no more.
    assert err.count("\nKeyboardInterrupt") == 1


def test_ctrl_c_ends_a_busy_loop():
    process = child(
        """
        import plait

        loop = plait.new_event_loop()

        def again():
            loop.call_soon(again)

        loop.call_soon(again)
        loop.call_soon(lambda: print("ready", flush=True))
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        loop.close()
        """
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
