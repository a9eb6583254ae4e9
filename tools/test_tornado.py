"""Runs Tornado's own tests, which come with it, on plait's loop: none may fail.

    tools/python tools/test_tornado.py [--loop plait] [NAME ...]

A NAME is a module or a case (`tornado.test.web_test`); by default all. Tornado's own program runs
them: it also fails on whatever is logged or written to the error output.
"""

import argparse
import sys
import time

import suites
from interpreters import Interpreter


def test(interpreter: Interpreter, options: argparse.Namespace) -> bool:
    """Run the suite under one interpreter, print the counts; True if nothing is bad."""
    environment = suites.prepared(interpreter, options.loop)
    print(f"--- {interpreter}, on the loop of {options.loop}", flush=True)
    begun = time.monotonic()
    outcome = suites.run(environment, options.loop, "tornado", options.names, options.limit)
    bad = [f"{case.name} failed" for case in outcome.cases if case.outcome == "failed"]
    if outcome.problem:
        bad.append(f"tornado's suite {outcome.problem}")
    if not outcome.cases:
        bad.append("no case was run")
    if bad:
        suites.show("What it said:", outcome.output, 200)
    for line in bad:
        print(f"BAD {line}")
    count = suites.counts(outcome.cases)
    print(
        f"test-tornado {interpreter.release} on {options.loop}: {count['run']} run, "
        f"{count['passed']} passed, {count['skipped']} skipped, {count['failed']} failed, "
        f"{len(bad)} bad; {count['loops']} made a loop; {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    return not bad


if __name__ == "__main__":
    sys.exit(suites.main("test_tornado.py", test, (300, "the whole"), sys.argv[1:]))
