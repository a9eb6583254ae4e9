"""`import plait` is quiet and light, and says when it is a debug build."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plait
from plait._binding import _warn_of_debug_build, native

# What plait uses, or works with, only when it is asked to.
HEAVY = (
    "aiohttp",
    "asyncio",
    "click",
    "cloudpickle",
    "multiprocessing",
    "numpy",
    "rich",
    "tornado",
)

# What a program that submits a function of a module needs neither here nor in a worker.
EXPENSIVE = {"asyncio", "cloudpickle", "dataclasses", "inspect", "numpy", "pathlib", "ssl"}


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_import_gives_no_warning(tmp_path: Path) -> None:
    answer = run("-W", "error", "-c", "import plait", cwd=tmp_path)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_import_is_light(tmp_path: Path) -> None:
    code = f"import plait, sys, json; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    answer = run("-c", code, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == []


def test_a_process_pool_starts_with_little(tmp_path: Path) -> None:
    # Each costs a pool 5 to 30 ms before its first result, in this process or in the template.
    loaded = f"{EXPENSIVE} & __import__('sys').modules.keys()"
    code = (
        "import sys; given = set(sys.modules)\n"  # by whatever the environment starts with
        "import plait, json\n"
        "with plait.ProcessPoolExecutor(1) as pool:\n"
        f"    there = pool.submit(eval, {loaded!r}).result()\n"
        f"    print(json.dumps([*(there | {loaded}) - given]))"
    )
    answer = run("-c", code, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == []


def test_a_debug_build_says_so_where_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("pass\nimport plait\n")
    answer = run("program.py", cwd=tmp_path, PLAIT_ALLOW_DEBUG="")
    assert answer.returncode == 0
    if native.DEBUG_BUILD:
        assert "program.py:2: DebugBuildWarning: " in answer.stderr
    else:
        assert answer.stderr == ""


def test_the_warning_can_be_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIT_ALLOW_DEBUG", "1")
    _warn_of_debug_build(True)
    monkeypatch.delenv("PLAIT_ALLOW_DEBUG")
    _warn_of_debug_build(False)
    with pytest.warns(plait.DebugBuildWarning, match="debug build"):
        _warn_of_debug_build(True)
