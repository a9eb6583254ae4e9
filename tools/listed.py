"""Runs a suite of CPython's own, and sets what fails against a list of exceptions.

A case that fails is tried again on the standard library's own classes: if it fails there too, on
this machine it tells nothing about plait. Any other must be listed with the reason. A run is bad
otherwise, and when an entry of that list is no longer true.
"""

import argparse
import fnmatch
import subprocess
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import suites
from environment import Environment
from interpreters import Interpreter, SetupError
from suites import Case


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
    """Cases that fail on the standard library's own classes as well."""


def module_of(name: str) -> str:
    """Name the module that a case, a class or a module is of."""
    return name.partition(".")[0]


@dataclass(frozen=True)
class Suite:
    """A suite, the list of its exceptions, and what it is run on instead of plait."""

    name: str
    package: str
    """What the names of most of its cases have in common, with the dot behind it."""
    exceptions: Path
    standard: str
    """Such as `asyncio`, for its own loop."""
    made: str
    """What is counted, such as `a loop`."""
    modules: Callable[[Environment], list[str]]
    foreign: tuple[str, ...] = ()
    """Modules that are not of the package."""

    def full(self, name: str) -> str:
        """Name a case or a pattern as the child knows it."""
        return name if module_of(name) in self.foreign else self.package + name

    def short(self, name: str) -> str:
        """Leave out what most cases have in common."""
        return name.removeprefix(self.package)

    def read_exceptions(self, version: str) -> list[Entry]:
        """Read the entries that are about this version of Python (such as 3.13).

        Raises:
            SetupError: the file is not in its form.
        """
        with self.exceptions.open("rb") as file:
            table = tomllib.load(file)
        entries = []
        for entry in table.get("exception", ()):
            if set(entry) - {"tests", "versions", "reason", "hangs"} or not entry.get("reason"):
                raise SetupError(f"{self.exceptions.name}: an entry has tests, reason, versions")
            versions = tuple(entry.get("versions", ()))
            if not versions or version in versions:
                hangs = bool(entry.get("hangs"))
                entries += [
                    Entry(test, entry["reason"], versions, hangs) for test in entry["tests"]
                ]
        for entry in entries:
            if "*" in module_of(entry.pattern):
                raise SetupError(f"{self.exceptions.name}: {entry.pattern!r} names no module")
        return entries

    def run_module(
        self,
        environment: Environment,
        names: Sequence[str],
        entries: Sequence[Entry],
        options: argparse.Namespace,
        verdict: Verdict,
    ) -> list[Case]:
        """Run the cases of one module; return those that fail on plait alone."""
        full = [self.full(name) for name in names]
        hang = [self.full(entry.pattern) for entry in entries if entry.hangs]
        outcome = suites.run(environment, options.loop, self.name, full, options.limit, hang)
        verdict.cases += outcome.cases
        if outcome.problem:
            verdict.bad.append(f"{names[0]} {outcome.problem}")
            suites.show(verdict.bad[-1], outcome.output, 60)
        failed = [case for case in outcome.cases if case.outcome == "failed"]
        if not failed or options.loop == self.standard:
            return failed
        again = suites.run(
            environment, self.standard, self.name, [case.name for case in failed], options.limit
        )
        also = {case.name for case in again.cases if case.outcome == "failed"}
        verdict.elsewhere += [self.short(case.name) for case in failed if case.name in also]
        return [case for case in failed if case.name not in also]

    def judge(self, verdict: Verdict, failed: Sequence[Case], entries: Sequence[Entry]) -> None:
        """Set what failed against the list."""
        for case in failed:
            if any(entry.covers(self.short(case.name)) for entry in entries):
                verdict.excepted += 1
            else:
                verdict.bad.append(f"{self.short(case.name)} failed")
                suites.show(f"FAILED {self.short(case.name)}", case.detail, 40)
        here = {case.name for case in failed}
        for entry in entries:
            covered = [case for case in verdict.cases if entry.covers(self.short(case.name))]
            listed = f"{self.exceptions.name}: {entry.pattern}"
            if not covered and not entry.hangs:
                verdict.bad.append(f"{listed} matches no case")
            for case in covered:
                if case.outcome != "failed":
                    verdict.bad.append(f"{listed}: {self.short(case.name)} is {case.outcome}")
                elif case.name not in here:
                    verdict.bad.append(
                        f"{listed}: {self.short(case.name)} fails on {self.standard} too"
                    )

    def test(self, interpreter: Interpreter, options: argparse.Namespace) -> bool:
        """Run the suite under one interpreter, print the counts; True if nothing is bad."""
        environment = suites.prepared(interpreter, options.loop)
        version = ".".join(map(str, interpreter.version[:2]))
        entries = self.read_exceptions(version) if options.loop == "plait" else []
        there = self.modules(environment)
        names = sorted(options.names or there, key=module_of)
        # Only what is run can be told from what is not.
        entries = [
            entry
            for entry in entries
            if any(name == module_of(entry.pattern) or entry.covers(name) for name in names)
        ]
        print(f"--- {interpreter}, test-{self.name} on {options.loop}", flush=True)
        verdict, begun = Verdict(), time.monotonic()
        failed: list[Case] = []
        for module, group in groupby(names, module_of):
            started, before = time.monotonic(), len(verdict.cases)
            failed += self.run_module(environment, list(group), entries, options, verdict)
            count = suites.counts(verdict.cases[before:])
            seconds = time.monotonic() - started
            print(
                f"{module:24} {count['run']:4} run, {count['passed']:4} passed, "
                f"{count['skipped']:3} skipped, {count['failed']:3} failed, "
                f"{count['loops']:4} made {self.made}, {seconds:3.0f} s",
                flush=True,
            )
        self.judge(verdict, failed, entries)
        if not verdict.cases:
            verdict.bad.append("no case was run")
        self._report(interpreter, options.loop, verdict, entries, time.monotonic() - begun)
        return not verdict.bad

    def _report(
        self,
        interpreter: Interpreter,
        on: str,
        verdict: Verdict,
        entries: Sequence[Entry],
        seconds: float,
    ) -> None:
        count = suites.counts(verdict.cases)
        for name in verdict.elsewhere:
            print(f"fails on {self.standard} too: {name}")
        for line in verdict.bad:
            print(f"BAD {line}")
        print(
            f"test-{self.name} {interpreter.release} on {on}: {count['run']} run, "
            f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed "
            f"({verdict.excepted} excepted, {sum(entry.hangs for entry in entries)} more not run, "
            f"{len(verdict.elsewhere)} on {self.standard} too), "
            f"{len(verdict.bad)} bad; {count['loops']} made {self.made}; {seconds:.0f} s",
            flush=True,
        )


def stems(environment: Environment, package: str, pattern: str = "test_*.py") -> list[str]:
    """List the test modules of a package, if the interpreter came with it."""
    program = f"""
import importlib.util, pathlib
try:
    spec = importlib.util.find_spec("{package}")
except ModuleNotFoundError:
    spec = None
for folder in spec.submodule_search_locations if spec else ():
    for path in sorted(pathlib.Path(folder).glob("{pattern}")):
        print(path.stem)
"""
    answer = subprocess.run(
        [environment.python, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()
