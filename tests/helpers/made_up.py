"""Signals of functions that there are not."""

import plait


def signals(wall, cpu=None, **others):
    """Make the signals of calls that compute all the time, but for what is said otherwise."""
    cpu = wall if cpu is None else cpu
    figures = {
        "calls": 5,
        "first": wall,
        "wall": wall,
        "cpu": cpu,
        "queued": 0.0,
        "held": None,
        "waits": {},
        "argument_bytes": 10,
        "result_bytes": 10,
        "pickle_seconds": 1e-6,
        "unpicklable": None,
        "memory": None,
        "process_cpu": cpu,
    }
    return plait.Signals(**{**figures, **others})
