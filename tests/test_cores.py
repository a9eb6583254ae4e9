"""How many cores a process may keep busy, read from recorded files of several systems."""

import math
import os

import pytest

import plait
from plait import _cores
from plait._quota import quota

V2 = "30 23 0:26 {root} {point} rw,nosuid,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {point} rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "25 30 0:23 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw\n"

# Name: /proc/self/cgroup, /proc/self/mountinfo, other files, cores.
SYSTEMS = {
    "bare metal": (
        "0::/user.slice/user-1000.slice/session-2.scope\n",
        OTHER + V2.format(root="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/user.slice/cpu.max": "max 100000\n"},
        None,
    ),
    "docker, version 2": (
        "0::/\n",
        V2.format(root="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/cpu.max": "150000 100000\n"},
        1.5,
    ),
    "systemd slices, the tightest above": (
        "0::/build.slice/job.service/inner\n",
        V2.format(root="/", point="/sys/fs/cgroup"),
        {
            "sys/fs/cgroup/build.slice/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/build.slice/job.service/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/build.slice/job.service/inner/cpu.max": "max 100000\n",
        },
        0.5,
    ),
    "docker, version 1, the group being the root of the mount": (
        "5:cpuset:/docker/ab12\n4:cpu,cpuacct:/docker/ab12\n0::/docker/ab12\n",
        V1.format(root="/docker/ab12", point="/sys/fs/cgroup/cpu,cpuacct"),
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        3.0,
    ),
    "version 1, no limit": (
        "4:cpu,cpuacct:/\n",
        V1.format(root="/", point="/sys/fs/cgroup/cpu"),
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "version 1, nested below the mount": (
        "4:cpu,cpuacct:/a/b\n",
        V1.format(root="/", point="/sys/fs/cgroup/cpu"),
        {
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "20000\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "10000\n",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
        },
        2.0,
    ),
    "both versions, time in the first": (
        "2:cpu:/x\n1:name=systemd:/y\n0::/z\n",
        V2.format(root="/", point="/sys/fs/cgroup/unified")
        + V1.format(root="/", point="/sys/fs/cgroup/cpu"),
        {
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
        },
        4.0,
    ),
    "a group outside of what is mounted": (
        "0::/../sibling\n",
        V2.format(root="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2.0,
    ),
    "a mount with a blank in its name": (
        "0::/job one\n",
        V2.format(root="/", point="/mnt/c\\040groups"),
        {"mnt/c groups/job one/cpu.max": "700000 100000\n"},
        7.0,
    ),
    "nonsense in the files": (
        "0::/\n",
        V2.format(root="/", point="/sys/fs/cgroup"),
        {"sys/fs/cgroup/cpu.max": "lots 0\n"},
        None,
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_quota_of_a_recorded_system(system, tmp_path):
    groups, mounts, files, expected = SYSTEMS[system]
    files = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota(tmp_path) == expected


def test_a_system_without_groups_has_no_quota(tmp_path):
    assert quota(tmp_path) is None


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (2.0, 2), (1.2, 2), (0.3, 1), (9.0, 8)])
def test_the_quota_bounds_the_cores_of_the_affinity(limit, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.setattr("plait._quota.quota", lambda: limit)
    assert _cores.usable() == expected


def test_who_names_a_number_of_cores_has_the_last_word(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "process_cpu_count", lambda: 5, raising=False)
    monkeypatch.setattr("plait._quota.quota", lambda: 2.0)
    assert _cores.usable() == 5


def test_a_pool_has_a_worker_for_each_core(monkeypatch):
    monkeypatch.setattr("plait._quota.quota", lambda: 1.0)
    with plait.ProcessPoolExecutor() as pool:
        assert pool._max_workers == 1


def test_this_system_can_be_read():
    limit = quota()
    assert limit is None or 0 < limit < math.inf
