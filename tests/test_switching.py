"""What docs/switching.md says of programs that are not Python scripts: it works as it stands.

Its scripts are run by test_docs.py.
"""

import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "switching.md").read_text()
APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "http":
        loop = type(asyncio.get_running_loop())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": loop.__module__.encode()})
"""
TEST = """
import asyncio
import plait
import pytest

@pytest.mark.{mark}
async def test_which_loop():
    assert type(asyncio.get_running_loop()) is plait.EventLoop
"""


def block(kind, words):
    """Find the one block of the page that has these words."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if words in each]
    return found


@pytest.mark.parametrize(
    ("words", "mark"), [("pytest_asyncio_loop_factories", "asyncio"), ("anyio_backend", "anyio")]
)
def test_pytest_runs_the_tests_on_plait(words, mark, tmp_path):
    (tmp_path / "conftest.py").write_text(block("python", words))
    (tmp_path / "test_loop.py").write_text(TEST.format(mark=mark))
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


def test_uvicorn_serves_on_plait(tmp_path):
    (tmp_path / "module.py").write_text(APPLICATION)
    (command,) = block("console", "uvicorn ").splitlines()
    program, *arguments = shlex.split(command.removeprefix("$ "))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = subprocess.Popen(
            [sys.executable, "-m", program, *arguments, "--fd", str(listening.fileno())],
            cwd=tmp_path,
            pass_fds=[listening.fileno()],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            # It waits in the socket's queue until the server is there.
            with socket.create_connection(listening.getsockname(), timeout=60) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: client.recv(65536), b""))
            server.send_signal(signal.SIGINT)
            _, log = server.communicate(timeout=60)
        finally:
            if server.poll() is None:
                server.kill()
                server.communicate()
    assert b"plait._loop.loop" in answer, log
    assert "Finished server process" in log
    assert "Traceback" not in log
