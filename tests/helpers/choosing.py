"""Decisions of `on="auto"` that tests make themselves: none depends on how fast the machine is."""

import os
import threading

import plait
from plait._auto import calling, record
from plait._auto.deciding import Decision


def choose(monkeypatch, method, width=2):
    """Have every decision be that one, as far as nothing forbids it; return how many were made."""
    made = []

    def decided(signals, need, *, process=None, before=None):
        barred = dict(need.barred)
        kept = process or barred.get("process")
        best = "serial" if method == "process" and (kept or signals.unpicklable) else method
        made.append(best)
        return Decision(best, width, 1, kept or "the test says so", ((best, 1.0),))

    monkeypatch.setattr(record, "decided", decided)
    # How long anything takes on a busy machine is no matter.
    monkeypatch.setattr(record, "_DRIFT", float("inf"))
    monkeypatch.setattr(calling, "_COMPARED", float("inf"))
    return made


def settle(fn, *args, calls=30):
    """Make calls until it is decided where they go."""
    for _ in range(calls):
        plait.submit(fn, *args, on="auto").result(60)
        if plait.explain(fn).decision is not None:
            return
    raise AssertionError("nothing was decided")


def here():
    """Tell where a call is made: the process and the thread."""
    return os.getpid(), threading.get_ident()
