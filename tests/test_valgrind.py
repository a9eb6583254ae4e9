"""plait under valgrind, where the kernel tells of a vDSO that is not there."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
import plait

async def main():
    await asyncio.sleep(0.001)
    for _ in range(20):
        await asyncio.sleep(0)
    print(asyncio.get_running_loop().time() > 0)

plait.run(main())
"""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
@pytest.mark.skipif("PLAIT_SANITIZER" in os.environ, reason="two of them do not go together")
def test_the_clocks_can_be_read():
    answer = subprocess.run(
        ["valgrind", "--tool=none", "-q", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (answer.stdout, answer.returncode) == ("True\n", 0), answer.stderr
