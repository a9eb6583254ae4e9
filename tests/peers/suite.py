"""Runs other people's test suites on what is chosen, and reports every case as it ends.

    python suite.py --loop plait --report FILE asyncio test.test_asyncio.test_events ...
    python suite.py --loop plait --report FILE tornado
    python suite.py --loop plait --report FILE futures test.test_concurrent_futures.test_wait ...

The report is a line of JSON for each case when it starts and when it ends, and one at the end of
all, so that whoever reads it can tell which case crashed or hung. `tools/suites.py` reads it.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.unix_events
import faulthandler
import fnmatch
import json
import os
import sys
import time
import unittest
from collections.abc import Iterator
from typing import Any

STANDARD = asyncio.SelectorEventLoop


class Report:
    """The file that is read from outside, and the number of loops made so far."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        self._pid = os.getpid()
        self.loops = 0

    def say(self, **event: Any) -> None:
        # A case may fork, and the child may come this way.
        if os.getpid() == self._pid:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()

    def end(self, case: str, outcome: str, detail: str, loops: int = 0) -> None:
        self.say(event="end", case=case, outcome=outcome, detail=detail, loops=loops)


class Result(unittest.TextTestResult):
    """Reports each case once, with the worst that became of it."""

    report: Report

    def _reset(self) -> None:
        self._outcome, self._detail = "passed", ""
        self._loops = self.report.loops

    def startTestRun(self) -> None:
        self._reset()
        super().startTestRun()

    def startTest(self, test: unittest.TestCase) -> None:
        self._reset()
        self.report.say(event="start", case=test.id())
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        loops = self.report.loops - self._loops
        self.report.end(test.id(), self._outcome, self._detail, loops)
        # Python 3.12.1 starts no skipped case, and stops it all the same.
        self._reset()

    def _failed(self, test: Any, detail: str) -> None:
        if not isinstance(test, unittest.TestCase):
            # The set-up or the tear-down of a class or a module.
            self.report.end(test.id(), "failed", detail)
            return
        self._outcome = "failed"
        self._detail += detail

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._failed(test, self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._failed(test, self.failures[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._failed(test, (self.failures if failed else self.errors)[-1][1])

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self._failed(test, "it was expected to fail, and did not")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        if not isinstance(test, unittest.TestCase):
            self.report.end(test.id(), "skipped", reason)
        elif self._outcome == "passed":
            self._outcome, self._detail = "skipped", reason


def loop_class(name: str) -> type[asyncio.AbstractEventLoop]:
    """Return the class of loop that goes by `name`."""
    if name == "asyncio":
        return STANDARD
    if name == "uvloop":
        import uvloop

        return uvloop.Loop  # type: ignore[no-any-return]
    import plait

    return plait.EventLoop


def counted(base: Any, report: Report) -> type[asyncio.AbstractEventLoop]:
    """Make a class of loops that are counted and can be made as asyncio's."""

    class SuiteLoop(base):  # type: ignore[misc]
        def __init__(self, selector: Any = None) -> None:
            report.loops += 1
            if base is STANDARD:
                super().__init__(selector)
                return
            if selector is not None:
                # The loop would own it, and has no use for it.
                selector.close()
            super().__init__()

    SuiteLoop.__name__ = SuiteLoop.__qualname__ = base.__name__
    return SuiteLoop


def replace_standard_loop(loop: type[asyncio.AbstractEventLoop]) -> None:
    """Have every public way to make asyncio's own loop make `loop` instead.

    What tests asyncio's own classes (`asyncio.selector_events`, mostly with selectors that are
    mocks) names them by their own names, and keeps them.
    """
    for module in (asyncio, asyncio.unix_events):
        for name, value in list(vars(module).items()):
            if value is STANDARD and not name.startswith("_"):
                setattr(module, name, loop)
            elif getattr(value, "_loop_factory", None) is STANDARD:
                value._loop_factory = loop


def flat(suite: Any) -> Iterator[Any]:
    """List the cases of a suite of suites."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flat(each)
        else:
            yield each


def run_unittest(names: list[str], report: Report, leave_out: list[str]) -> bool:
    suite = unittest.TestSuite()
    for name in names:
        try:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromName(name))
        except unittest.SkipTest as skip:
            # The whole module is for another system.
            report.end(name, "skipped", str(skip))
    suite = unittest.TestSuite(
        case
        for case in flat(suite)
        if not any(fnmatch.fnmatchcase(case.id(), pattern) for pattern in leave_out)
    )
    # As CPython's own runs: the warnings are those of the command line.
    runner = unittest.TextTestRunner(resultclass=Result, warnings=None, verbosity=0)
    return runner.run(suite).wasSuccessful()


def run_tornado(names: list[str], report: Report, leave_out: list[str]) -> bool:
    """Run it through its own program, which also fails on whatever is logged."""
    from tornado.test import runtests

    standard_factory = runtests.test_runner_factory

    def factory(stderr: Any) -> Any:
        runner = standard_factory(stderr)

        class Runner(runner):  # type: ignore[misc, valid-type]
            def _makeResult(self) -> Any:
                standard = type(super()._makeResult())
                self.resultclass = type("TornadoResult", (standard, Result), {})
                return super()._makeResult()

        return Runner

    runtests.test_runner_factory = factory
    # Its command line looks for `all` in the main module.
    sys.modules["__main__"] = runtests
    sys.argv = ["tornado.test", *names]
    try:
        runtests.main()
    except SystemExit as end:
        return not end.code
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=("plait", "asyncio", "uvloop", "standard"), required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--stacks-at", type=float, help="show the stacks at this monotonic time")
    parser.add_argument("--leave-out", action="append", default=[], metavar="PATTERN")
    parser.add_argument("suite", choices=("asyncio", "tornado", "futures"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.stacks_at is not None:
        # A time that has passed is as good as now.
        faulthandler.dump_traceback_later(max(options.stacks_at - time.monotonic(), 0.001))
    Result.report = report = Report(options.report)
    if options.suite == "futures":
        import pools

        pools.prepare(options.loop == "plait", report)
    else:
        replace_standard_loop(counted(loop_class(options.loop), report))
    run = run_tornado if options.suite == "tornado" else run_unittest
    successful = run(options.names, report, options.leave_out)
    report.say(event="done")
    return 0 if successful else 1


if __name__ == "__main__":
    sys.exit(main())
