"""However a program ends whose workers hang, stopped ones among them: nothing of it is left."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from programs import Program

HANGING = """
import ctypes, faulthandler, os, pathlib, signal, sys, time
import plait

def spin():
    announce("spin")
    while True:
        pass

def deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    announce("deaf")
    while True:
        time.sleep(1000)

def doze():
    announce("doze")
    time.sleep(1000)

def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.001)

def hang(pool):
    return [pool.submit(task) for task in (spin, deaf, doze)]

"""


def start(program: Program, text: str, workers: int = 3) -> list[int]:
    """Start a program with three tasks that hang, and note its processes.

    One with more workers says that it is ready.
    """
    program.start(HANGING + textwrap.dedent(text))
    pids = [int(program.wait_for(name)) for name in ("spin", "deaf", "doze")]
    if workers > 3:
        program.wait_for("ready")
    assert len(program.watch()) == workers + 1  # and the template
    return pids


# ---- the parent is gone

ENDS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(3)",
    "segfault": "faulthandler.disable(); ctypes.string_at(0)",
    "abort": "os.abort()",
    "exec": 'os.execv("/bin/true", ["true"])',
}


@pytest.mark.parametrize("how", ENDS)
def test_a_parent_that_is_gone_leaves_no_worker_hung_or_stopped(program, how):
    pids = start(
        program,
        f"""
        import numpy
        pool = plait.ProcessPoolExecutor(4)
        futures = hang(pool)
        # The shared memory is in use, too.
        views = [pool.submit(numpy.ones, 10**6).result() for _ in range(3)]
        announce("ready")
        wait_for("end")
        {ENDS[how]}
        """,
        workers=4,
    )
    for pid in pids[1:]:
        os.kill(pid, signal.SIGSTOP)
    (program.directory / "end").touch()
    program.nothing_is_left()
    program.end()
    assert list((program.directory / "tmp").iterdir()) == []


def test_a_stopped_template_does_not_outlive_its_parent(program):
    pids = start(program, "pool = plait.ProcessPoolExecutor(3); hang(pool); signal.pause()")
    stat = Path(f"/proc/{pids[0]}/stat").read_text()
    os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    program.process.kill()
    program.nothing_is_left()


# ---- the interpreter's exit


@pytest.mark.parametrize("made", ["ProcessPoolExecutor(3, exit_timeout=0.5)", "Pool(3)"])
def test_the_exit_waits_no_longer_than_it_may(program, made):
    run = (
        "hang(pool)" if "Executor" in made else "[pool.apply_async(f) for f in (spin, deaf, doze)]"
    )
    pids = start(
        program,
        f"""
        pool = plait.{made}
        tasks = {run}
        wait_for("end")
        """,
    )
    os.kill(pids[2], signal.SIGSTOP)
    (program.directory / "end").touch()
    program.nothing_is_left()
    assert program.end() == (0, "", "")


def test_the_exit_waits_as_long_as_it_takes_within_the_limit(program):
    program.start(
        """
        import time, plait
        def work(n):
            time.sleep(0.05)
            print(n, flush=True)
        pool = plait.ProcessPoolExecutor(1, exit_timeout=50)
        for n in range(5):
            pool.submit(work, n)
        """
    )
    assert program.end() == (0, "0\n1\n2\n3\n4\n", "")


def test_the_exit_without_a_limit_waits_for_ctrl_c(program):
    start(
        program,
        """
        import atexit, threading
        # Called when the wait begins, by the main thread: the pools are ended before.
        pool = plait.ProcessPoolExecutor(3)
        hang(pool)
        threading._register_atexit(announce, "exiting")
        """,
    )
    program.wait_for("exiting")
    program.process.send_signal(signal.SIGINT)
    program.nothing_is_left()
    _, out, err = program.end()
    assert (out, err.count("KeyboardInterrupt")) == ("", 1), err
    assert err.count("Traceback") <= 1, err


# ---- Ctrl-C

INTERRUPTED = {
    "map": "with plait.ProcessPoolExecutor(3) as p: list(p.map(call, [spin, deaf, doze] * 9))",
    "result": "with plait.ProcessPoolExecutor(3) as pool: hang(pool)[0].result()",
    "Pool": "with plait.Pool(3) as pool: pool.map(call, [spin, deaf, doze] * 9, 1)",
    "imap": "with plait.Pool(3) as pool: list(pool.imap(call, [spin, deaf, doze] * 9))",
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_ctrl_c_is_one_traceback(program, how):
    start(program, f"def call(task): task()\n{INTERRUPTED[how]}")
    # As a terminal does: all that are in the group.
    os.killpg(program.process.pid, signal.SIGINT)
    program.nothing_is_left()
    code, out, err = program.end()
    assert (code, out) == (-signal.SIGINT, ""), err
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")


# ---- nothing has a name that somebody could open


def sockets_with_a_path() -> dict[str, str]:
    """Return the paths of the Unix sockets that have one, by inode."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {fields[6]: fields[7] for fields in lines if len(fields) > 7}


def test_memory_and_sockets_have_no_name(program):
    start(
        program,
        """
        import numpy
        pool = plait.ProcessPoolExecutor(4)
        hang(pool)
        views = [pool.submit(numpy.ones, 10**6).result() for _ in range(3)]
        announce("ready")
        signal.pause()
        """,
        workers=4,
    )
    bound, memory, inside = sockets_with_a_path(), set(), set()
    for pid in (program.process.pid, *program._sentinels):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            if match := re.fullmatch(r"socket:\[(\d+)\]", target):
                inside.add(match[1])
                assert match[1] not in bound, f"{pid}: {bound[match[1]]}"
            if "memfd:" in target:
                memory.add(target)
                # Who opens it by way of /proc needs the rights to trace the process.
                assert entry.stat().st_nlink == 0
            assert not target.startswith(("/dev/shm", "/dev/mqueue", str(program.directory)))
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            if {"w", "s"} <= set(fields[1]) and len(fields) > 5:
                assert re.fullmatch(r"/memfd:plait.* \(deleted\)", fields[5]), line
    # Or nothing was looked at.
    assert memory
    assert inside
    assert list((program.directory / "tmp").iterdir()) == []


# ---- an idle pool


def switches(pids: list[int]) -> dict[str, int]:
    """Count how often each thread has gone to sleep."""
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            status = dict(
                line.split(":\t", 1) for line in (task / "status").read_text().splitlines()
            )
            name = f"{pid} {task.name} {status['Name']}"
            found[name] = int(status["voluntary_ctxt_switches"])
    return found


def test_an_idle_pool_wakes_nothing(program):
    program.start(
        """
        import os, pathlib, signal, plait
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        pool, other = plait.ProcessPoolExecutor(3), plait.Pool(2)
        assert list(pool.map(abs, range(1000))) == other.map(abs, range(1000))
        pathlib.Path("idle").touch()
        signal.sigwait([signal.SIGUSR1])
        print(pool.submit(abs, -1).result(), other.apply(abs, (-2,)))
        other.terminate()
        """
    )
    program.wait_for("idle")
    pids = [program.process.pid, *program.watch()]
    assert len(switches(pids)) >= 9  # five workers, two templates, the main thread, a supervisor
    woken = {"what was under way": 1}
    for _ in range(10):
        before = switches(pids)
        time.sleep(2)  # a while in which nothing is to happen
        after = switches(pids)
        woken = {name: n for name in after if (n := after[name] - before.get(name, 0))}
        if not woken:
            break
    assert not woken
    program.process.send_signal(signal.SIGUSR1)
    assert program.end() == (0, "1 2\n", "")


def test_a_template_whose_program_ended_without_listening_ends_silently():
    code = """
import socket
from plait._worker import forking

control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.send(b"nobody reads this")
other.close()
forking._receive(control)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
