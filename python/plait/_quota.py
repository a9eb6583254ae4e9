"""The quota of processor time that control groups grant.

What is read, each checkable in cgroups(7) and proc(5):

- `/proc/self/cgroup` names the process's group in each hierarchy, `/proc/self/mountinfo` where
  each hierarchy is mounted and which group of it is the root of that mount (in a container often
  the container's own).
- Version 2 keeps `quota period` in `cpu.max`, version 1 the two in `cpu.cfs_quota_us` and
  `cpu.cfs_period_us`, all in microseconds; `max` and -1 mean that there is no limit.
- A group is bound by its own limit and by that of each group above it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

__all__ = ["quota"]


# By plain text: `pathlib` takes as long to import as a worker to start.
def quota(root: str | os.PathLike[str] = "/") -> float | None:
    """Return how many cores' worth of time the control groups grant, `None` for no limit.

    Args:
        root: where `/proc` and the mounted hierarchies are found.

    """
    limits = (_limit(folder) for folder in _groups(os.fspath(root)))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: str) -> Iterator[str]:
    """Give the folders of this process's groups, in each hierarchy that limits time."""
    try:
        own = _read(f"{root}/proc/self/cgroup")
        mounts = _read(f"{root}/proc/self/mountinfo")
    except OSError:
        return  # no /proc, or one that is not Linux's
    paths: dict[str, str] = {}
    for line in own.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            paths["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            paths["cgroup"] = path
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        kind, _, options = kind.split(" ", 2)
        if kind not in paths or (kind == "cgroup" and "cpu" not in re.split("[ ,]", options)):
            continue
        top, point = (_unescape(field) for field in mount.split(" ")[3:5])
        folder = f"{root}/{point}"
        yield folder
        # A group outside of what is mounted here cannot be read; its limits hold all the same,
        # and the folder of the mount, which has them in a container, has been given.
        own_names, top_names = _names(paths[kind]), _names(top)
        if ".." not in own_names and own_names[: len(top_names)] == top_names:
            for name in own_names[len(top_names) :]:
                folder = f"{folder}/{name}"
                yield folder


def _limit(group: str) -> float | None:
    try:
        if os.path.exists(f"{group}/cpu.max"):
            allowed, period = _read(f"{group}/cpu.max").split()
        else:
            allowed = _read(f"{group}/cpu.cfs_quota_us").strip()
            period = _read(f"{group}/cpu.cfs_period_us")
        if allowed == "max" or int(allowed) <= 0:
            return None
        return int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # a group that limits nothing has no such files


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _read(path: str) -> str:
    # Names of groups are any bytes.
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _unescape(field: str) -> str:
    r"""Undo what the kernel does to white space in a path: a blank is `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
