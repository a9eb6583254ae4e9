"""What workers write to standard error: shown, and told with a worker's death."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import plait

LIMIT = 60


def complain_and_die(lines):
    for line in lines:
        print(line, file=sys.stderr)
    os.write(2, b"and these by the descriptor\n")
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_lines_come_with_the_death(capfd):
    lines = [f"line {number}" for number in range(5000)]
    with plait.ProcessPoolExecutor(1) as pool:
        error = pool.submit(complain_and_die, lines).exception(LIMIT)
        assert isinstance(error, plait.WorkerDied)
        last = [*lines, "and these by the descriptor"]
        kept = error.stderr.splitlines()
        assert 100 < len(kept) < 5000
        assert kept == last[-len(kept) :]
        assert "SIGKILL" in str(error)
        assert str(error).endswith("\n  line 4999\n  and these by the descriptor")
        # The next worker's words are its own.
        error = pool.submit(complain_and_die, []).exception(LIMIT)
        assert error.stderr == "and these by the descriptor\n"
    # And all of it was shown, in order.
    shown = capfd.readouterr().err.splitlines()
    assert shown == [*lines, *["and these by the descriptor"] * 2]


def test_what_c_code_writes_before_it_aborts(capfd):
    def abort():
        libc = ctypes.CDLL(None)
        libc.perror(b"from C")
        libc.abort()

    with plait.ProcessPoolExecutor(1) as pool:
        error = pool.submit(abort).exception(LIMIT)
    assert "from C" in error.stderr
    assert "SIGABRT" in str(error)


def test_a_death_without_words_says_nothing_of_them():
    with plait.ProcessPoolExecutor(1) as pool:
        error = pool.submit(os._exit, 3).exception(LIMIT)
    assert error.stderr == ""
    assert "standard error" not in str(error)


def test_a_failed_start_tells_why(capfd):
    def cannot():
        print("no such device", file=sys.stderr)
        os._exit(9)

    with plait.ProcessPoolExecutor(1, initializer=cannot) as pool:
        error = pool.submit(abs, 1).exception(LIMIT)
    assert "exited with code 9" in str(error)
    assert "no such device" in str(error)


def run(program: str, tmp_path: Path, **options):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    return subprocess.Popen([sys.executable, str(path)], **options)


def test_prints_of_workers_are_kept(tmp_path):
    program = run(
        """
        import sys
        import plait

        def speak(number):
            print("out", number)
            print("error", number, file=sys.stderr)
            print("no end of line", number, file=sys.stderr, end="")

        with plait.ProcessPoolExecutor(1) as pool:
            for number in range(2):
                pool.submit(speak, number).result()
        """,
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = program.communicate(timeout=LIMIT)
    assert out == "out 0\nout 1\n"
    assert err == "error 0\nno end of line 0error 1\nno end of line 1"


def test_a_stuck_standard_error_holds_up_only_who_writes_to_it(tmp_path):
    # Nobody reads the pipe: it fills up, then that of the worker, which waits. Another worker
    # goes on, and the program ends.
    program = run(
        """
        import os
        import sys
        import plait

        def flood(path):
            open(path, "w").close()
            while True:
                os.write(2, b"x" * 4096)

        with plait.ProcessPoolExecutor(2) as pool:
            flooding = pool.submit(flood, "flooding")
            while not os.path.exists("flooding"):
                pool.submit(abs, 0).result()
            done = sum(pool.submit(abs, -1).result() for _ in range(500))
            print(done, flooding.running(), flush=True)
            sys.stdin.read()
            os._exit(0)
        """,
        tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert program.stdout.readline() == b"500 True\n"
        # What there is comes whole once it is read.
        assert program.stderr.read(100_000) == b"x" * 100_000
        program.communicate(timeout=LIMIT)
        assert program.returncode == 0
    finally:
        program.kill()
        program.wait()


def test_a_pool_ends_although_standard_error_is_stuck(tmp_path):
    program = run(
        """
        import os
        import plait

        with plait.ProcessPoolExecutor(1) as pool:
            for _ in range(40):
                pool.submit(os.write, 2, b"x" * 2048)
        print("over", flush=True)
        """,
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert program.stdout.readline() == b"over\n"
        _, err = program.communicate(timeout=LIMIT)
        assert set(err) == {ord("x")}
    finally:
        program.kill()
        program.wait()


def test_a_closed_standard_error_is_nobodys_trouble(tmp_path):
    program = run(
        """
        import os
        import signal
        import sys
        import plait

        def die():
            os.write(2, b"heard all the same")
            os.kill(os.getpid(), signal.SIGKILL)

        os.close(2)
        with plait.ProcessPoolExecutor(1) as pool:
            print(pool.submit(die).exception().stderr)
        """,
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = program.communicate(timeout=LIMIT)
    assert (out, err) == ("heard all the same\n", "")


def test_what_a_task_has_started_may_write_after_the_worker_is_gone(tmp_path):
    program = run(
        """
        import os
        import subprocess
        import sys
        import plait

        def start_and_leave():
            subprocess.Popen(["sh", "-c", "read line < fifo; echo late $line >&2"])

        os.mkfifo("fifo")
        with plait.ProcessPoolExecutor(1) as pool:
            pool.submit(start_and_leave).result()
            pool.submit(os._exit, 0).exception()
            with open("fifo", "w") as fifo:
                fifo.write("words")
            sys.stdin.read()
        """,
        tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert program.stderr.readline() == b"late words\n"
        program.communicate(timeout=LIMIT)
        assert program.returncode == 0
    finally:
        program.kill()
        program.wait()


@pytest.mark.parametrize("kind", ["pipe", "file", "socket", "terminal"])
def test_every_kind_of_standard_error(kind, tmp_path):
    import pty
    import socket

    text = """
        import os
        import plait

        def write():
            os.write(2, b"x" * 50_000 + b"!")

        with plait.ProcessPoolExecutor(1) as pool:
            pool.submit(write).result()
    """
    if kind == "file":
        with (tmp_path / "log").open("wb") as theirs:
            theirs.write(b"before ")
            theirs.flush()
            assert run(text, tmp_path, stderr=theirs).wait(LIMIT) == 0
        assert (tmp_path / "log").read_bytes() == b"before " + b"x" * 50_000 + b"!"
        return
    if kind == "pipe":
        ours, theirs = os.pipe()
    elif kind == "terminal":
        ours, theirs = pty.openpty()
    else:
        one, other = socket.socketpair()
        ours, theirs = one.detach(), other.detach()
    program = run(text, tmp_path, stderr=theirs)
    os.close(theirs)
    got = b""
    while not got.endswith(b"!"):
        got += os.read(ours, 65536)
    assert got == b"x" * 50_000 + b"!"
    assert program.wait(LIMIT) == 0
    os.close(ours)
