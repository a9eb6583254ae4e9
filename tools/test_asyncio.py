"""Runs CPython's own tests of asyncio, which come with the interpreter, on plait's loop.

    tools/python tools/test_asyncio.py [--loop plait] [NAME ...]

A NAME is a module, a class or a case below `test.test_asyncio` (`test_events`,
`test_tasks.CTask_CFuture_Tests`); by default all. A case that fails is tried again on asyncio's own
loop: if it fails there too, on this machine it tells nothing about plait. Any other must be listed
in `tests/peers/asyncio_exceptions.toml` with the reason. The target fails otherwise, and when
an entry of that list is no longer true.
"""

import argparse
import fnmatch
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import suites
from environment import ROOT, Environment
from interpreters import Interpreter, SetupError
from suites import Case

EXCEPTIONS = ROOT / "tests" / "peers" / "asyncio_exceptions.toml"
PACKAGE = "test.test_asyncio"
LIST = f"""
import importlib.util, pathlib
spec = importlib.util.find_spec("{PACKAGE}")
for folder in spec.submodule_search_locations if spec else ():
    for path in sorted(pathlib.Path(folder).glob("test_*.py")):
        print(path.stem)
"""


@dataclass(frozen=True)
class Entry:
    """An entry of the list: cases that may fail, and why."""

    pattern: str
    reason: str
    versions: tuple[str, ...]
    hangs: bool = False
    """Then it is not run: it would cost the whole module."""

    def covers(self, name: str) -> bool:
        """Tell whether it is about this case."""
        return fnmatch.fnmatchcase(name, self.pattern)


@dataclass
class Verdict:
    """What a run under one interpreter came to."""

    cases: list[Case] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    excepted: int = 0
    elsewhere: list[str] = field(default_factory=list)
    """Cases that fail on asyncio's own loop as well."""


def read_exceptions(version: str) -> list[Entry]:
    """Read the entries that are about this version of Python (such as 3.13).

    Raises:
        SetupError: the file is not in its form.
    """
    with EXCEPTIONS.open("rb") as file:
        table = tomllib.load(file)
    entries = []
    for entry in table.get("exception", ()):
        if set(entry) - {"tests", "versions", "reason", "hangs"} or not entry.get("reason"):
            raise SetupError(f"{EXCEPTIONS.name}: an entry has tests, reason, perhaps versions")
        versions = tuple(entry.get("versions", ()))
        if not versions or version in versions:
            hangs = bool(entry.get("hangs"))
            entries += [Entry(test, entry["reason"], versions, hangs) for test in entry["tests"]]
    for entry in entries:
        if not entry.pattern.startswith("test_") or "*" in _module(entry.pattern):
            raise SetupError(f"{EXCEPTIONS.name}: {entry.pattern!r} names no module")
    return entries


def _module(name: str) -> str:
    return name.partition(".")[0]


def modules(environment: Environment) -> list[str]:
    """List the modules of the suite that the interpreter came with.

    Raises:
        SetupError: it came without.
    """
    answer = subprocess.run(
        [environment.python, "-I", "-c", LIST], capture_output=True, text=True, check=True
    )
    if not answer.stdout:
        raise SetupError(f"{environment.interpreter} came without {PACKAGE}")
    return answer.stdout.split()


def short(name: str) -> str:
    """Leave out what all cases have in common."""
    return name.removeprefix(PACKAGE + ".")


def run_module(
    environment: Environment,
    names: Sequence[str],
    entries: Sequence[Entry],
    options: argparse.Namespace,
    verdict: Verdict,
) -> list[Case]:
    """Run the cases of one module; return those that fail on this loop alone."""
    full = [f"{PACKAGE}.{name}" for name in names]
    hang = [f"{PACKAGE}.{entry.pattern}" for entry in entries if entry.hangs]
    outcome = suites.run(environment, options.loop, "asyncio", full, options.limit, hang)
    verdict.cases += outcome.cases
    if outcome.problem:
        verdict.bad.append(f"{names[0]} {outcome.problem}")
        suites.show(verdict.bad[-1], outcome.output, 60)
    failed = [case for case in outcome.cases if case.outcome == "failed"]
    if not failed or options.loop == "asyncio":
        return failed
    again = suites.run(
        environment, "asyncio", "asyncio", [case.name for case in failed], options.limit
    )
    also = {case.name for case in again.cases if case.outcome == "failed"}
    verdict.elsewhere += [short(case.name) for case in failed if case.name in also]
    return [case for case in failed if case.name not in also]


def judge(verdict: Verdict, failed: Sequence[Case], entries: Sequence[Entry]) -> None:
    """Set what failed against the list."""
    for case in failed:
        if any(entry.covers(short(case.name)) for entry in entries):
            verdict.excepted += 1
        else:
            verdict.bad.append(f"{short(case.name)} failed")
            suites.show(f"FAILED {short(case.name)}", case.detail, 40)
    here = {case.name for case in failed}
    for entry in entries:
        covered = [case for case in verdict.cases if entry.covers(short(case.name))]
        listed = f"{EXCEPTIONS.name}: {entry.pattern}"
        if not covered and not entry.hangs:
            verdict.bad.append(f"{listed} matches no case")
        for case in covered:
            if case.outcome != "failed":
                verdict.bad.append(f"{listed}: {short(case.name)} is {case.outcome}")
            elif case.name not in here:
                verdict.bad.append(f"{listed}: {short(case.name)} fails on asyncio too")


def test(interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Run the suite under one interpreter, print the counts; True if nothing is bad."""
    environment = suites.prepared(interpreter, options.loop)
    version = ".".join(map(str, interpreter.version[:2]))
    entries = read_exceptions(version) if options.loop == "plait" else []
    names = sorted(options.names or modules(environment), key=_module)
    if options.names:
        # Only what is run can be told from what is not.
        entries = [
            entry
            for entry in entries
            if any(name == _module(entry.pattern) or entry.covers(name) for name in names)
        ]
    print(f"--- {interpreter}, on the loop of {options.loop}", flush=True)
    verdict, begun = Verdict(), time.monotonic()
    failed: list[Case] = []
    for module, group in groupby(names, _module):
        started, before = time.monotonic(), len(verdict.cases)
        failed += run_module(environment, list(group), entries, options, verdict)
        count = suites.counts(verdict.cases[before:])
        seconds = time.monotonic() - started
        print(
            f"{module:24} {count['run']:4} run, {count['passed']:4} passed, "
            f"{count['skipped']:3} skipped, {count['failed']:3} failed, "
            f"{count['loops']:4} made a loop, {seconds:3.0f} s",
            flush=True,
        )
    judge(verdict, failed, entries)
    if not verdict.cases:
        verdict.bad.append("no case was run")
    count = suites.counts(verdict.cases)
    for name in verdict.elsewhere:
        print(f"fails on asyncio's own loop too: {name}")
    for line in verdict.bad:
        print(f"BAD {line}")
    print(
        f"test-asyncio {interpreter.release} on {options.loop}: {count['run']} run, "
        f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed "
        f"({verdict.excepted} excepted, {sum(entry.hangs for entry in entries)} more not run, "
        f"{len(verdict.elsewhere)} on asyncio too), "
        f"{len(verdict.bad)} bad; {count['loops']} made a loop; "
        f"{time.monotonic() - begun:.0f} s",
        flush=True,
    )
    return not verdict.bad


if __name__ == "__main__":
    sys.exit(suites.main("test_asyncio.py", test, (180, "each module"), sys.argv[1:]))
