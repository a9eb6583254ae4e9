"""Runs the Python tests under every CPython that plait supports and this machine has.

With `--newest-of-each` it leaves out all but the newest 3.11, 3.12, ...; other arguments go to
pytest. It ends with one line for each interpreter and fails if any failed.
"""

import subprocess
import sys
import time

from environment import Environment
from interpreters import NEWEST, OLDEST, Interpreter, SetupError, find_all

NEWEST_OF_EACH = "--newest-of-each"


def test(interpreter: Interpreter, arguments: list[str]) -> str | None:
    """Test under one interpreter; return what failed, if anything did."""
    environment = Environment("dev", interpreter)
    try:
        environment.update()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return "could not be set up"
    command = (environment.python, "-m", "pytest", "--quiet", *arguments)
    answer = subprocess.run(command, env=environment.variables(), stdin=subprocess.DEVNULL)
    return f"failed (pytest's exit status {answer.returncode})" if answer.returncode else None


def main(arguments: list[str]) -> int:
    """Test under each; the exit status is 1 if one failed or none was found."""
    lines = []
    failures = ran = 0
    found = sorted(find_all(), key=lambda each: each.version)
    if NEWEST_OF_EACH in arguments:
        arguments = [argument for argument in arguments if argument != NEWEST_OF_EACH]
        found = list({each.version[:2]: each for each in found if not each.problem}.values())
    for interpreter in found:
        if not OLDEST <= interpreter.version[:2] <= NEWEST:
            continue
        if interpreter.problem:
            lines.append(f"{interpreter}: not run: it {interpreter.problem}")
            continue
        print(f"--- {interpreter}", flush=True)
        begun = time.monotonic()
        failure = test(interpreter, arguments)
        ran += 1
        failures += failure is not None
        lines.append(f"{interpreter}: {failure or 'passed'}, {time.monotonic() - begun:.0f} s")
    print("--- make test-all", *lines, sep="\n")
    if not ran:
        print("error: no CPython 3.11 to 3.14 was found that serves", file=sys.stderr)
    return 1 if failures or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
