"""Runs the Python tests under every CPython that plait supports and this machine has.

With `--newest-of-each` it leaves out all but the newest 3.11, 3.12, ...; other arguments go to
pytest. As many interpreters as there are cores are tested at the same time, for tests mostly wait;
what each prints comes in one piece, at its end. It ends with one line for each interpreter and
fails if any failed.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from os import sched_getaffinity

from environment import Environment
from interpreters import NEWEST, OLDEST, Interpreter, SetupError, find_all

NEWEST_OF_EACH = "--newest-of-each"


def prepare(interpreter: Interpreter) -> Environment | None:
    """Set up for one interpreter, a build included; return None, and say why, if it fails."""
    environment = Environment("dev", interpreter)
    try:
        environment.update()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return None
    return environment


def test(environment: Environment, arguments: list[str]) -> tuple[str, str | None, float]:
    """Test in one environment; return what was printed, what failed, if anything did, and how long.

    Returns:
        the output of pytest; None or what failed; the seconds that it took.

    """
    begun = time.monotonic()
    answer = subprocess.run(
        (environment.python, "-m", "pytest", "--quiet", *arguments),
        env=environment.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    failure = f"failed (pytest's exit status {answer.returncode})" if answer.returncode else None
    return answer.stdout, failure, time.monotonic() - begun


def main(arguments: list[str]) -> int:
    """Test under each; the exit status is 1 if one failed or none was found."""
    found = sorted(find_all(), key=lambda each: each.version)
    if NEWEST_OF_EACH in arguments:
        arguments = [argument for argument in arguments if argument != NEWEST_OF_EACH]
        found = list({each.version[:2]: each for each in found if not each.problem}.values())
    found = [each for each in found if OLDEST <= each.version[:2] <= NEWEST]
    lines = dict.fromkeys(found, "could not be set up")
    failures = ran = 0
    with ThreadPoolExecutor(len(sched_getaffinity(0))) as pool:
        under_test = {}
        for interpreter in found:
            if interpreter.problem:
                lines[interpreter] = f"not run: it {interpreter.problem}"
                continue
            ran += 1
            # One after another: a build uses all cores by itself.
            if environment := prepare(interpreter):
                under_test[pool.submit(test, environment, arguments)] = interpreter
            else:
                failures += 1
        for future in as_completed(under_test):
            interpreter = under_test[future]
            output, failure, seconds = future.result()
            failures += failure is not None
            lines[interpreter] = f"{failure or 'passed'}, {seconds:.0f} s"
            print(f"--- {interpreter}", output, sep="\n", flush=True)
    print("--- make test-all", *(f"{who}: {how}" for who, how in lines.items()), sep="\n")
    if not ran:
        print("error: no CPython 3.11 to 3.14 was found that serves", file=sys.stderr)
    return 1 if failures or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
