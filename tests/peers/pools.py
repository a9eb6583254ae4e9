"""Has CPython's own tests of pools and processes test plait's.

The names under which the standard library's classes are public lead to plait's, here and in the
programs that the tests start.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.pool
import os
from typing import Any, Protocol

# What a program that a test starts executes first.
PREAMBLE = """\
import concurrent.futures, multiprocessing, plait
concurrent.futures.ProcessPoolExecutor = plait.ProcessPoolExecutor
concurrent.futures.ThreadPoolExecutor = plait.ThreadPoolExecutor
multiprocessing.Pool = plait.Pool
import multiprocessing.pool
multiprocessing.pool.ThreadPool = plait.ThreadPool
"""


class Counter(Protocol):
    """Has the number of pools that were made."""

    loops: int


def prepare(plait_s: bool, report: Counter) -> None:
    """Put plait's pools in the place of the standard ones, if they are to be tested."""
    if plait_s:
        import plait

        pools = plait.ProcessPoolExecutor, plait.ThreadPoolExecutor, plait.Pool, plait.ThreadPool
        for pool in pools:
            count(pool, report)
        concurrent.futures.ProcessPoolExecutor = plait.ProcessPoolExecutor
        concurrent.futures.ThreadPoolExecutor = plait.ThreadPoolExecutor
        multiprocessing.Pool = multiprocessing.pool.Pool = plait.Pool
        multiprocessing.pool.ThreadPool = plait.ThreadPool
        count(plait.Process, report)
        count(plait.Thread, report)
        # For a module that the processes of its tests import, too.
        os.environ["PLAIT_TEST_PROCESSES"] = "1"
        change_programs()


def count(pool: Any, report: Counter) -> None:
    """Count how many pools of a class are made."""
    make = pool.__init__

    def make_and_count(self: Any, *args: Any, **options: Any) -> None:
        report.loops += 1
        make(self, *args, **options)

    pool.__init__ = make_and_count


def change_programs() -> None:
    """Have programs of tests begin with the preamble."""
    from test.support import script_helper

    standard = script_helper.run_python_until_end

    def run(*args: Any, **variables: Any) -> Any:
        args = tuple(
            PREAMBLE + arg if position and args[position - 1] == "-c" else arg
            for position, arg in enumerate(args)
        )
        return standard(*args, **variables)

    script_helper.run_python_until_end = run
