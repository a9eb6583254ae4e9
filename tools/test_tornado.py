"""Runs Tornado's own tests, which come with it, on plait's loop: none may fail.

    tools/python tools/test_tornado.py [--loop plait] [NAME ...]

A NAME is a module or a case (`tornado.test.web_test`); by default all. Tornado's own program runs
them: it also fails on whatever is logged or written to the error output.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import suites
from interpreters import Interpreter, SetupError


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


def main(arguments: Sequence[str]) -> int:
    """Run it under each interpreter."""
    parser = argparse.ArgumentParser(prog="test_tornado.py")
    parser.add_argument("--loop", choices=("plait", "asyncio"), default="plait")
    parser.add_argument("--limit", type=float, default=300, help="seconds for the whole")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    try:
        good = [test(interpreter, options) for interpreter in suites.interpreters()]
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
