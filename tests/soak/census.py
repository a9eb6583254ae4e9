"""Counts what a pool could leave behind, in this process and of its descendants."""

import contextlib
import gc
import os
import uuid
from pathlib import Path

MARK = "PLAIT_FAULTS_MARK"


def begin():
    """Mark the environment, which descendants inherit whoever their parent becomes."""
    os.environ[MARK] = uuid.uuid4().hex


def marked():
    """Return the processes, other than this one, that descend from this one."""
    found = {}
    mark = f"{MARK}={os.environ[MARK]}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in Path(f"/proc/{entry}/environ").read_bytes():
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry)] = command.decode(errors="replace")
    return found


def parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def shared():
    """Return the mappings that this process has of a pool's memory."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in maps if "memfd:plait" in line]


def descriptors():
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


def take():
    """Count."""
    gc.collect()
    return {
        "processes": len(marked()),
        "descriptors": len(descriptors()),
        "shared mappings": len(shared()),
        "threads": len(os.listdir("/proc/self/task")),
    }
