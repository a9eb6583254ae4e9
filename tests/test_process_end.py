"""However a `plait.Process`, its template or its parent ends: nothing is left, nothing is wrong."""

import contextlib
import itertools
import os
import resource
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest
from processes import run
from tasks import timeouts, until

import plait
from plait._process import launcher

pytestmark = pytest.mark.usefixtures("template_ends")

LIMIT = 60
CONTEXT = plait.get_context()


# ---- its time is up


def sleep_and_clean(path):
    try:
        time.sleep(1000)
    finally:
        path.write_text("cleaned")


def test_at_its_timeout_it_cleans_up(tmp_path, capfd):
    for timeout in timeouts(0.1):
        process = run(sleep_and_clean, tmp_path / "file", timeout=timeout, grace=LIMIT, name="late")
        assert (process.exitcode, process.timed_out) == (-signal.SIGTERM, True)
        said = capfd.readouterr().err
        # It is not there where the process was stopped before it came to sleep.
        if (tmp_path / "file").exists():
            break
    assert (tmp_path / "file").read_text() == "cleaned"
    assert said.startswith("Process late:\nTraceback")
    assert "time.sleep(1000)" in said
    assert f"late has run for its timeout of {timeout:g} s" in said


def swallow():
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1000)


def block_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(1000)


def compute():
    sum(itertools.repeat(0))  # in C, without a look at signals


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize(
    "target", [swallow, block_signals, compute, stop], ids=lambda target: target.__name__
)
def test_what_does_not_stop_is_killed(target):
    for timeout in timeouts(0.1):
        process = run(target, timeout=timeout, grace=0.05)
        assert process.timed_out
        # It ends by the first signal where that comes before what it is to do about it.
        if process.exitcode != -signal.SIGTERM:
            break
    assert process.exitcode == -signal.SIGKILL


def start_another(connection, end):
    import subprocess

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as child:
        connection.send(child.pid)
        end()


@pytest.mark.parametrize("end", [swallow, stop], ids=lambda target: target.__name__)
def test_what_it_has_started_goes_with_it(end):
    pidfd = None
    for timeout in timeouts(0.5):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        arguments = {"args": (theirs, end), "timeout": timeout, "grace": 0.1}
        process = plait.Process(target=start_another, **arguments)
        process.start()
        with theirs, ours:
            until(lambda: ours.poll(0) or not process.is_alive())
            # It may have been too late to start another.
            if ours.poll(0):
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(ours.recv())
        process.join(LIMIT)
        assert process.timed_out
        if pidfd is not None:
            break
    assert launcher.is_readable(pidfd, LIMIT)
    os.close(pidfd)


def test_without_a_timeout_it_is_one_of_this_group():
    ours, theirs = CONTEXT.Pipe(duplex=False)
    with ours, theirs:
        run(lambda: theirs.send(os.getpgid(0)))
        run(lambda: theirs.send(os.getpgid(0)), timeout=LIMIT)
        assert ours.recv() == os.getpgid(0)
        assert ours.recv() not in (os.getpgid(0), os.getpgid(launcher.launcher._template.pid))


def test_one_that_is_in_time_is_left_alone():
    process = run(sys.exit, 3, timeout=LIMIT)
    assert (process.exitcode, process.timed_out) == (3, False)


def test_terminate_does_not_look_like_a_timeout(tmp_path):
    process = plait.Process(target=sleep_and_clean, args=(tmp_path / "file",), timeout=LIMIT)
    process.start()
    process.terminate()
    process.join(LIMIT)
    assert (process.exitcode, process.timed_out) == (-signal.SIGTERM, False)
    assert not (tmp_path / "file").exists()  # as ever: at once


def test_kill_does_not_look_like_a_timeout():
    process = plait.Process(target=time.sleep, args=(1000,), timeout=LIMIT)
    process.start()
    process.kill()
    process.join(LIMIT)
    assert (process.exitcode, process.timed_out) == (-signal.SIGKILL, False)


def test_its_own_handler_of_sigterm_is_asked(tmp_path):
    def work():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        time.sleep(1000)

    for timeout in timeouts(0.1):
        process = run(work, timeout=timeout, grace=LIMIT)
        # There may be none yet.
        if process.exitcode != -signal.SIGTERM:
            break
    assert process.exitcode == 9


def test_the_time_covers_threads_and_exit_functions():
    def work():
        import threading

        threading.Thread(target=time.sleep, args=(1000,)).start()

    process = run(work, timeout=0.2, grace=LIMIT)
    assert (process.exitcode, process.timed_out) == (-signal.SIGTERM, True)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_positive_number(value):
    with pytest.raises(ValueError, match="timeout must be"):
        plait.Process(target=stop, timeout=value)


@pytest.mark.parametrize("name", ["timeout", "grace"])
def test_a_time_is_a_number(name):
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not str"):
        plait.Process(target=stop, **{name: "long"})


# ---- the template dies


def kill_template():
    os.kill(launcher.launcher._template.pid, signal.SIGKILL)


def test_what_runs_when_the_template_dies_runs_on():
    event = CONTEXT.Event()
    ends = [
        plait.Process(target=lambda: (event.wait(), sys.exit(3))),
        plait.Process(target=lambda: (event.wait(), os.kill(os.getpid(), signal.SIGKILL))),
        plait.Process(target=time.sleep, args=(1000,), timeout=0.5, grace=LIMIT),
    ]
    for process in ends:
        process.start()
    kill_template()
    other = run(sys.exit, 4)
    event.set()
    for process in ends:
        process.join(LIMIT)
    assert other.exitcode == 4
    left, killed, late = (process.exitcode for process in ends)
    assert left == 3
    assert late == -signal.SIGTERM
    assert ends[2].timed_out
    # Before Linux 6.15 nobody knows.
    assert killed in (-signal.SIGKILL, 255)


def test_the_template_dies_again_and_again():
    for n in range(10):
        process = plait.Process(target=sys.exit, args=(n,))
        process.start()
        kill_template()
        process.join(LIMIT)
        assert process.exitcode == n


def test_a_template_that_cannot_start_is_an_error(monkeypatch, capfd):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="could not start"):
        plait.Process(target=stop).start()
    monkeypatch.setattr(sys, "executable", "/no/such")
    with pytest.raises(FileNotFoundError):
        plait.Process(target=stop).start()
    monkeypatch.undo()
    assert run(sys.exit, 2).exitcode == 2


def test_a_stopped_template_does_not_hide_an_end():
    process = plait.Process(target=time.sleep, args=(1000,))
    process.start()
    pid = launcher.launcher._template.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        process.kill()
        assert launcher.is_readable(process.sentinel, LIMIT)
        assert process.exitcode in (-signal.SIGKILL, 255)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_without_descriptors_it_is_an_error_and_works_later():
    run(sys.exit)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    for spare in range(1, 12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
        try:
            process = plait.Process(target=sys.exit, args=(5,))
            process.start()
        except OSError:
            continue
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        process.join(LIMIT)
        assert process.exitcode == 5
    assert run(sys.exit, 6).exitcode == 6


# ---- the parent forks


def test_a_forked_child_has_nothing_to_do_with_it(program):
    program.start(
        """
        import os, sys, time, warnings, multiprocessing
        import plait
        warnings.simplefilter("ignore", DeprecationWarning)

        def end():
            sys.exit(5)

        event = plait.get_context().Event()
        running = plait.Process(target=event.wait, daemon=True)
        ended = plait.Process(target=end)
        running.start(), ended.start()
        plait._process.popen.launcher.is_readable(ended.sentinel, None)
        if os.fork() == 0:
            for attempt in (running.is_alive, running.join, ended.is_alive):
                try:
                    attempt()
                except AssertionError as error:
                    print(error)
            print(ended.exitcode, running.exitcode, multiprocessing.active_children())
            own = plait.Process(target=end)
            own.start()
            own.join()
            print("own:", own.exitcode, flush=True)
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        print(running.is_alive(), ended.exitcode)
        event.set()
        running.join()
        print(running.exitcode)
        """
    )
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "can only test a child process",
        "can only join a child process",
        "can only test a child process",
        "None None []",
        "own: 5",
        "0",
        "True 5",
        "0",
    ]


# ---- the parent ends

BUSY = """
    import os, pathlib, signal, subprocess, sys, time
    import plait

    def sleep(name):
        announce(name)
        time.sleep(1000)

    def stop(name):
        announce(name)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)

    def start():
        for target, name, options in (
            (sleep, "plain", {}),
            (sleep, "daemon", {"daemon": True}),
            (sleep, "timed", {"timeout": 1000}),
            (stop, "stopped", {}),
        ):
            plait.Process(target=target, args=(name,), **options).start()
"""


def start_busy(program, rest):
    program.start(textwrap.dedent(BUSY) + textwrap.dedent(rest))
    pids = {name: int(program.wait_for(name)) for name in ("plain", "daemon", "timed", "stopped")}
    stat = Path(f"/proc/{pids['stopped']}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()
    # The template and the resource tracker too.
    assert len(program.watch()) == len(pids) + 2
    return pids


def test_the_parent_killed_leaves_nobody(program):
    start_busy(program, "start(); time.sleep(1000)")
    program.process.kill()
    program.nothing_is_left()


def test_a_parent_that_leaves_by_os_exit_leaves_nobody(program):
    start_busy(
        program, "signal.signal(signal.SIGUSR1, lambda *_: os._exit(3)); start(); time.sleep(1000)"
    )
    program.process.send_signal(signal.SIGUSR1)
    program.nothing_is_left()
    assert program.end()[0] == 3


def test_an_interrupt_of_the_terminal_leaves_nobody(program):
    pids = start_busy(program, "start(); time.sleep(1000)")
    os.kill(pids["stopped"], signal.SIGCONT)
    os.killpg(program.process.pid, signal.SIGINT)
    program.nothing_is_left()
    code, _, err = program.end()
    assert code == -signal.SIGINT
    # Of each, but the daemon if the end of the program terminates it before it has said so.
    assert err.count("KeyboardInterrupt") in (4, 5)
    for number in (1, 3, 4):
        assert f"Process Process-{number}:\n" in err


def test_the_end_of_the_program_joins_some_and_terminates_others(program):
    program.start(
        """
        import time
        import plait

        def work(name, seconds):
            try:
                time.sleep(seconds)
            finally:
                print(name, flush=True)

        plait.Process(target=work, args=("joined", 0.3)).start()
        plait.Process(target=work, args=("terminated", 1000), daemon=True).start()
        """
    )
    assert program.end() == (0, "joined\n", "")


def test_the_end_of_the_program_leaves_no_zombie(program):
    """Whoever takes over the orphans of a container has none to take over."""
    program.start(
        """
        import atexit, os, multiprocessing.util
        import plait

        def look():
            multiprocessing.util._exit_function()
            try:
                os.waitpid(-1, os.WNOHANG)
                print("children")
            except ChildProcessError:
                print("none")

        if __name__ == "__main__":
            from multiprocessing import resource_tracker
            process = plait.Process(target=print)
            process.start()
            process.join()
            resource_tracker._resource_tracker._stop()
            atexit.register(look)
        """
    )
    assert program.end() == (0, "\nnone\n", "")


# ---- programs


def test_the_example_of_the_documentation_of_multiprocessing_works(program):
    """Functions and classes of the program come out of queues, by their names."""
    program.start(
        """
        import plait

        class Job:
            def __init__(self, n):
                self.n = n
            def do(self):
                return factor() * self.n

        def factor():
            return 10

        def add(a, b):
            return a + b

        unsent = open(__file__)
        huge = bytearray(1 << 22)

        def uses_unsent():
            return unsent.read()

        def uses_huge():
            return huge

        def work(tasks, results):
            for function, args in iter(tasks.get, "STOP"):
                results.put(function(*args))

        context = plait.get_context()
        tasks, results = context.Queue(), context.Queue()
        workers = [plait.Process(target=work, args=(tasks, results)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for n in range(20):
            tasks.put((add, (n, n)))
            tasks.put((Job.do, (Job(n),)))
        expected = [2 * n for n in range(20)] + [10 * n for n in range(20)]
        print(sorted(results.get() for _ in range(40)) == sorted(expected))
        for worker in workers:
            tasks.put("STOP")
        for worker in workers:
            worker.join()
        print([worker.exitcode for worker in workers])
        """
    )
    assert program.end() == (0, "True\n[0, 0, 0]\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change what it may do")
def test_a_program_that_gives_up_its_rights_starts_nothing_that_has_them(program):
    program.start(
        """
        import os
        import plait

        def start():
            process = plait.Process(target=lambda: print(os.getresgid(), os.getgroups()))
            process.start()
            process.join()

        os.setgroups([1, 2])
        start()
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        start()
        """
    )
    assert program.end() == (0, "(0, 0, 0) [1, 2]\n(65534, 65534, 65534) []\n", "")
