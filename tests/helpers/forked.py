"""Programs that fork: each in a process of its own, which ends itself if it hangs."""

import subprocess
import sys
import textwrap

PRELUDE = '''
import asyncio, os, signal, socket, sys, threading, warnings
import plait

signal.alarm(30)
if sys.version_info >= (3, 12):
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
parent = os.getpid()
CROWD = b"a" * 1_000_000


def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return exit_code(pid)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refused(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        assert f"made in process {parent}" in str(error), error
        assert f"in process {os.getpid()}" in str(error), error
        assert "make a new loop here" in str(error), error
    else:
        raise AssertionError(f"{call} did not raise")


async def crowded():
    """A connection, with more written to it than fits: some of it waits in the transport."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(CROWD)
    assert writer.transport.get_write_buffer_size() > 0
    return reader, writer, theirs


async def received(sock, count):
    data = bytearray()
    while len(data) < count and (more := await asyncio.get_running_loop().sock_recv(sock, 65536)):
        data += more
    return bytes(data)
'''


def run(program: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
