"""`plait which script.py`: a program runs as ever, is watched, and is answered for at its exit.

Calls are told by the interpreter (`hooks`), noted by thread (`watcher`, `record`), and at the exit
the functions that are worth it are chosen (`ranking`) and told of (`report`). No call is made
twice, and none is made in another place than the program makes it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import IO

__all__ = ["begin"]


def begin(options: Iterable[str]) -> None:
    """Watch the program that is about to begin, and report at its exit.

    Args:
        options: "json" has the report be JSON on standard output, and what the program writes
            there go to standard error.

    """
    from plait._which.hooks import watch
    from plait._which.watcher import Watcher

    answer = None
    if "json" in options:
        # Not inherited by what the program starts.
        answer = os.dup(1)
        os.dup2(2, 1)
    failures: list[str] = []
    watcher = Watcher()
    pid = os.getpid()

    def report() -> None:
        elapsed = perf_counter() - started - watcher.lost
        # A fork of the program is not the program.
        if os.getpid() != pid:
            return
        stop()
        _report(watcher, elapsed, failures, answer)
        _stay_interrupted()

    # Registered before anything of the program's: it runs after all of that.
    atexit.register(report)
    started = perf_counter()
    stop = watch(watcher, failures.append)


def _stay_interrupted() -> None:
    """Have a program that an interrupt has ended still end by that signal.

    CPython (`run_eval_code_obj`) forgets of it with the next text that is executed, as modules do
    that make named tuples; and notes it with the next one that is interrupted.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _stderr() -> IO[str] | None:
    """Return standard error, anew where the program has closed it; None: there is none."""
    if getattr(sys.stderr, "closed", False):
        with contextlib.suppress(OSError):  # The descriptor may be closed as well.
            return open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        return None
    return sys.stderr


def _report(watcher: object, elapsed: float, failures: list[str], answer: int | None) -> None:
    from plait._which.ranking import answers
    from plait._which.report import write_json, write_table
    from plait._which.watcher import Watcher

    assert isinstance(watcher, Watcher)
    script = sys.argv[0] if sys.argv else ""
    for stream in (sys.stdout, sys.stderr):
        # The program may have closed it, or put something of its own in its place.
        if not getattr(stream, "closed", False) and hasattr(stream, "flush"):
            stream.flush()
    errors = _stderr()
    if failures:
        print(f"plait which: measuring {script} failed, and ended early:", file=errors)
        print(failures[0], file=errors)
    records = watcher.records()
    # Threads have more time together than passes by the clock.
    total = max(elapsed, sum(record.callers.get(0, 0.0) for record in records))
    found = answers(records, total)
    if answer is None:
        if errors is not None:
            write_table(script, found, records, elapsed, total, errors)
    else:
        with os.fdopen(answer, "w", encoding="utf-8") as out:
            write_json(script, found, elapsed, total, out)
