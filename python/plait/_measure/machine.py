"""What each engine costs on this machine: measured once, and kept in a small file."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from plait import _cores
from plait._binding import native
from plait._measure.keeping import read_json, write_json

__all__ = ["TYPICAL", "Overheads", "cache_file", "identity", "known", "overheads"]

#: Changes with what is measured, and how.
_FORMAT = 3
#: Seconds after which a measurement that has not come back is given up: it takes one or two.
_PATIENCE = 60.0
#: Measured so often on a busy machine, the best of each figure has to do.
_TRIES = 3
#: No more times the typical figure than this is believed of what a busy machine disturbed.
_BELIEVABLE = 5
#: Set in the process that measures.
_MEASURING = "PLAIT_MEASURING"


@dataclass(frozen=True, slots=True)
class Overheads:
    """What handing out calls costs here; times in seconds, sizes in bytes.

    Attributes:
        serial_call: Making a call where it is.
        thread_call: Handing one call to a thread and taking its result, when many are.
        thread_trip: The same for one alone, there and back.
        thread_start: Starting a thread of a pool.
        thread_memory: A thread's memory.
        contention: How many times as long computing takes that shares the interpreter lock.
        lock_switch: Handing the interpreter lock to a thread that waits for it.
        process_call: Handing one call to a process and taking its result, when many are.
        process_item: What a call in a chunk adds to the chunk.
        process_trip: Handing one out alone, there and back.
        process_start: Starting a pool with its first worker.
        worker_start: Starting each further worker.
        worker_memory: A worker's memory.
        byte: Carrying one byte to a process or back, pickling apart.
        task: Running one task on the loop.
        task_memory: A task's memory.
    """

    serial_call: float
    thread_call: float
    thread_trip: float
    thread_start: float
    thread_memory: int
    contention: float
    lock_switch: float
    process_call: float
    process_item: float
    process_trip: float
    process_start: float
    worker_start: float
    worker_memory: int
    byte: float
    task: float
    task_memory: int


#: Of a machine of today, for as long as nothing better is known.
TYPICAL = Overheads(
    serial_call=5e-8,
    thread_call=3e-6,
    thread_trip=2.5e-5,
    thread_start=6e-5,
    thread_memory=60_000,
    contention=1.02,
    lock_switch=1e-5,
    process_call=6e-6,
    process_item=1e-6,
    process_trip=4e-5,
    process_start=0.08,
    worker_start=0.004,
    worker_memory=9_000_000,
    byte=3e-10,
    task=4e-6,
    task_memory=3_000,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the overheads.

    Attributes:
        overheads: The best that was measured of each.
        tries: How often they have been measured on a busy machine, 0 once they were on a quiet one.
    """

    overheads: Overheads
    tries: int

    @property
    def is_settled(self) -> bool:
        return self.tries in (0, _TRIES)


# That of this process, once it is known.
_kept: Kept | None = None
# Whether this process has measured.
_tried = False


def overheads(*, fresh: bool = False) -> Overheads:
    """Return what each engine costs on this machine.

    The first time it is measured, in a process of its own, which takes a second or two; then it is
    kept in `cache_file()`. What was measured on a busy machine is measured again by the next
    program that asks, up to three times, and the best counts. Where it cannot be measured, typical
    figures stand in.

    Args:
        fresh: Measure anew, whatever is kept.
    """
    global _kept, _tried
    kept = None if fresh else _recall()
    if kept is not None and (kept.is_settled or _tried):
        return kept.overheads
    measured = _measured()
    _tried = True
    if measured is None:
        # Not kept: next time it may work.
        return TYPICAL if kept is None else kept.overheads
    found, busy = measured
    if kept is None:
        kept = Kept(found, int(busy))
    else:
        kept = Kept(_best_of(kept.overheads, found), kept.tries + 1 if busy else 0)
    _kept = kept
    _write(kept)
    return kept.overheads


def known() -> Overheads | None:
    """Return what is known already, from this process or the file: nothing is measured for it."""
    kept = _recall()
    return None if kept is None else kept.overheads


def _recall() -> Kept | None:
    global _kept
    if _kept is None:
        _kept = _read()
    return _kept


def _best_of(one: Overheads, other: Overheads) -> Overheads:
    """Return the smaller of each figure: what disturbs a measurement makes it larger."""
    names = [field.name for field in fields(Overheads)]
    return Overheads(**{name: min(getattr(one, name), getattr(other, name)) for name in names})


def identity() -> dict[str, str | int | bool]:
    """Return what the overheads hold for: this processor, kernel, Python and plait."""
    # A worker's share of the cores changes nothing about the machine.
    return {
        "format": _FORMAT,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if _cores.given() else _cores.usable(),
        "kernel": os.uname().release,
        "python": sys.version,
        "plait": native.__version__,
        "debug": native.DEBUG_BUILD,
    }


def cache_file(what: str = "overheads") -> str:
    """Return the path of a file, under `$XDG_CACHE_HOME/plait` or `~/.cache/plait`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The base directory specification has it that relative ones are ignored.
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    # One file for each machine and Python: a home directory may serve many.
    digest = hashlib.sha256(json.dumps(identity()).encode()).hexdigest()[:16]
    return os.path.join(base, "plait", f"{what}-{digest}.json")


@functools.cache
def _processor() -> str:
    """Return the name of the processor: on x86 it has one, on ARM numbers say who made what."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        return os.uname().machine
    told = {name.strip(): value.strip() for name, _, value in lines}
    parts = [told.get("model name"), told.get("CPU implementer"), told.get("CPU part")]
    return " ".join([os.uname().machine, *filter(None, parts)])


def _read() -> Kept | None:
    """Read the file; None if there is none for this machine, or none that makes sense."""
    told = read_json(cache_file())
    if not isinstance(told, dict) or told.get("identity") != identity():
        return None
    found, tries = _checked(told.get("overheads")), told.get("tries")
    if found is None or not isinstance(tries, int) or not 0 <= tries <= _TRIES:
        return None
    return Kept(found, tries)


def _checked(figures: Any) -> Overheads | None:
    """Make of a mapping what it should be; None if a figure is missing or none."""
    if not isinstance(figures, Mapping):
        return None
    checked: dict[str, Any] = {}
    for field in fields(Overheads):
        value = figures.get(field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not (math.isfinite(value) and 0 <= value < 1e12):
            return None
        checked[field.name] = int(value) if field.type == "int" else float(value)
    return Overheads(**checked)


def _write(kept: Kept) -> None:
    """Keep the figures; where nothing can be written, they are measured again another time."""
    told = {"identity": identity(), "tries": kept.tries, "overheads": asdict(kept.overheads)}
    write_json(cache_file(), told)


def _measured() -> tuple[Overheads, bool] | None:
    """Measure in another process, which has nothing of this program in it.

    Returns:
        The overheads, and whether the machine was busy meanwhile; None if it failed.
    """
    if not sys.executable or _MEASURING in os.environ:
        # In a program with Python in it `sys.executable` may be that program: started again, it
        # would come back here.
        return None
    command = [sys.executable, "-c", "from plait._measure.calibrating import main; main()"]
    environment = {
        **os.environ,
        _MEASURING: "1",
        # What lies in the current directory is nothing to it.
        "PYTHONSAFEPATH": "1",
        # The same plait as here, however it was found.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # It has been said here already.
        "PLAIT_ALLOW_DEBUG": "1",
    }
    try:
        ended = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=True,
        )
        # What the program's own start-up files print comes first.
        told = json.loads(ended.stdout.splitlines()[-1])
        found, busy = _checked(told["overheads"]), bool(told["busy"])
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError):
        return None
    if found is None:
        return None
    return (_best_of(found, _scaled(TYPICAL, _BELIEVABLE)) if busy else found), busy


def _scaled(of: Overheads, factor: int) -> Overheads:
    return Overheads(**{field.name: getattr(of, field.name) * factor for field in fields(of)})
