"""Scripts for tests of what is defined in `__main__`."""

import subprocess
import sys
import textwrap

__all__ = ["script"]

HARNESS = """
import plait as _plait

class Worker:
    def __init__(self, max_workers=1):
        self.pool = _plait.ProcessPoolExecutor(max_workers)

    def __call__(self, fn, *args, **kwargs):
        return self.pool.submit(fn, *args, **kwargs).result()

    def close(self):
        self.pool.shutdown()

worker = Worker()
"""


def script(code, *options, stdin=None):
    """Run `code` as `__main__`, with a `worker` at hand."""
    code = HARNESS + textwrap.dedent(code) + "\nworker.close()\n"
    arguments = ["-c", code] if stdin is None else ["-"]
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, *arguments],
        input=stdin and code,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
