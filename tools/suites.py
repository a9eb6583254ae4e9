"""Runs other people's test suites in child processes, and reads what became of each case.

The child is `tests/peers/suite.py`. One that hangs is ended at its time limit, one that crashes
is noticed: either costs the cases that it was given, and is a failure with a name.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT, Environment
from interpreters import NEWEST, OLDEST, Interpreter, SetupError, choose, find_all

SUITE = ROOT / "tests" / "peers" / "suite.py"
LOOPS = ("plait", "asyncio", "uvloop")


@dataclass(frozen=True)
class Case:
    """What became of one case."""

    name: str
    outcome: str
    detail: str
    loops: int
    """How many event loops it made, of the class that the suite was run on."""


@dataclass(frozen=True)
class Outcome:
    """What became of one child: its cases, and what was wrong with the child itself, if so."""

    cases: list[Case]
    problem: str | None
    output: str


def interpreters() -> Iterator[Interpreter]:
    """List the interpreter that PYTHON names, or every one that serves, oldest first.

    Raises:
        SetupError: there is none.
    """
    if os.environ.get("PYTHON"):
        yield choose(os.environ["PYTHON"])
        return
    found = [
        each
        for each in sorted(find_all(), key=lambda each: each.version)
        if OLDEST <= each.version[:2] <= NEWEST and not each.problem
    ]
    if not found:
        raise SetupError("plait needs CPython 3.11 to 3.14, and none was found")
    yield from found


def prepared(interpreter: Interpreter, loop: str) -> Environment:
    """Bring up to date the environment that has the loop.

    Raises:
        SetupError: it cannot be.
    """
    environment = Environment("bench" if loop == "uvloop" else "dev", interpreter)
    environment.update()
    return environment


def run(
    environment: Environment,
    loop: str,
    suite: str,
    names: Sequence[str],
    limit: float,
    leave_out: Sequence[str] = (),
) -> Outcome:
    """Run cases in a child process, for at most `limit` seconds."""
    with tempfile.TemporaryDirectory(prefix="plait-suite-") as folder:
        report = Path(folder) / "report"
        work = Path(folder) / "work"
        work.mkdir()
        # The options of CPython's own runs. The stacks are shown a little
        # before the end, however long the child took to start, so that one
        # can see where it hung.
        options = ("-E", "-bb", "-W", "default", "-X", "faulthandler")
        command = [environment.python, *options, str(SUITE), "--loop", loop]
        command += [f"--leave-out={pattern}" for pattern in leave_out]
        stacks_at = time.monotonic() + limit * 0.95
        command += ["--report", str(report), "--stacks-at", str(stacks_at), suite, *names]
        with (Path(folder) / "output").open("w+", errors="replace") as output:
            child = subprocess.Popen(
                command,
                cwd=work,
                env=environment.variables() | {"PLAIT_ALLOW_DEBUG": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status: int | None = child.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                # Whatever it started and left behind goes with it.
                _kill_group(child)
            output.seek(0)
            said = output.read()
        cases, last, done = _read(report)
    problem = None
    if status is None:
        problem = f"still ran after {limit:.0f} s, in {last}"
    elif not done:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        problem = f"ended early ({how}), in {last}"
    elif status and all(case.outcome != "failed" for case in cases):
        problem = f"failed as a whole (exit status {status})"
    return Outcome(cases, problem, said)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(report: Path) -> tuple[list[Case], str, bool]:
    """Return the cases that ended, the one that was under way last, and whether all was done."""
    cases = []
    last, done = "the loading of the tests", False
    for line in report.read_text().splitlines() if report.exists() else ():
        event = json.loads(line)
        if event["event"] == "start":
            last = event["case"]
        elif event["event"] == "end":
            keys = ("outcome", "detail", "loops")
            cases.append(Case(event["case"], *(event[key] for key in keys)))
        else:
            done = True
    return cases, last, done


def counts(cases: Iterable[Case]) -> dict[str, int]:
    """Count the outcomes, and the cases that made a loop."""
    total = {"run": 0, "passed": 0, "skipped": 0, "failed": 0, "loops": 0}
    for case in cases:
        total["run"] += 1
        total[case.outcome] += 1
        total["loops"] += case.loops > 0
    return total


def show(heading: str, text: str, lines: int) -> None:
    """Print the end of what was said, indented, to the error output."""
    print(f"\n{heading}", file=sys.stderr)
    for line in text.rstrip().splitlines()[-lines:]:
        print(f"    {line}", file=sys.stderr)


def main(
    program: str,
    test: Callable[[Interpreter, argparse.Namespace], bool],
    limit: tuple[float, str],
    arguments: Sequence[str],
    choice: tuple[str, Sequence[str]] = ("--loop", LOOPS),
) -> int:
    """Run `test` under each interpreter; return the exit status, 0 if it was always True.

    `limit` is the default of `--limit` in seconds, and what it is for; `choice` the option that
    says what the suite is run on.
    """
    parser = argparse.ArgumentParser(
        prog=program, epilog=f"PYTHON={os.environ.get('PYTHON') or '(all found)'}"
    )
    parser.add_argument(choice[0], dest="loop", choices=choice[1], default="plait")
    parser.add_argument("--limit", type=float, default=limit[0], help=f"seconds for {limit[1]}")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    # A shell without job control starts what it runs in the background with SIGINT
    # ignored, and children inherit that: the suites send it to themselves, and wait.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        good = [test(interpreter, options) for interpreter in interpreters()]
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(good) else 1
