"""A loop that nobody closed, at the end of the interpreter."""

import subprocess
import sys

import pytest

# What is kept in `sys` goes when the modules are empty already, and
# `sys.stderr` too: what goes wrong then must be written by hand.
SCRIPT = """
import os, signal, sys
import plait

class Loop(plait.EventLoop):
    def __del__(self, end=plait.EventLoop.__del__, write=os.write, kind=BaseException, text=repr):
        try:
            end(self)
            write(1, b"closed" if self.is_closed() else b"left open")
        except kind as error:
            write(1, text(error).encode())

loop = Loop()
loop.call_soon(loop.stop)
loop.run_forever()
if "handler" in sys.argv:
    loop.add_signal_handler(signal.SIGTERM, print)
sys.kept = loop
"""


@pytest.mark.parametrize("has", ["nothing", "handler"])
def test_it_is_closed_without_a_word(has):
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, has], capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("closed", "", 0)
