"""The scripts of `tools/` choose interpreters as they should, and say what is missing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import environment
from interpreters import SetupError, choose, commands, find_all, newest, probe

ROOT = Path(__file__).resolve().parent.parent


def script(path: Path, body: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def fake(path: Path, release: str = "3.12.1", **changes: object) -> str:
    """Make a program that answers as an interpreter does."""
    facts = {
        "executable": str(path),
        "version": [int(part) for part in re.findall(r"\d+", release)[:3]],
        "release": release,
        "implementation": "cpython",
        "free_threaded": False,
        "venv": True,
    }
    return script(path, f"echo '{json.dumps({**facts, **changes})}'")


def test_this_interpreter_serves() -> None:
    found = probe(sys.executable)
    assert found is not None
    assert found.problem is None
    assert found.version == sys.version_info[:3]


def test_a_virtual_environment_is_seen_through() -> None:
    found = probe(sys.executable)
    assert found is not None
    assert Path(found.executable).parent.parent.samefile(sys.base_prefix)


@pytest.mark.parametrize(
    ("release", "changes", "problem"),
    [
        ("3.10.13", {}, "3.11 to 3.14"),
        ("3.15.0a1", {}, "3.11 to 3.14"),
        ("3.11.9", {"implementation": "pypy"}, "CPython"),
        ("3.13.0", {"free_threaded": True}, "free-threaded"),
        ("3.11.2", {"venv": False}, "apt install python3.11-venv"),
    ],
)
def test_what_does_not_serve_says_why(
    tmp_path: Path, release: str, changes: dict[str, object], problem: str
) -> None:
    command = fake(tmp_path / "python3", release, **changes)
    found = probe(command)
    assert found is not None
    assert found.problem is not None
    assert problem in found.problem
    with pytest.raises(SetupError, match=re.escape(problem)):
        choose(command)
    with pytest.raises(SetupError, match=re.escape(problem)):
        choose(None, [command])


def test_the_first_that_serves_is_chosen(tmp_path: Path) -> None:
    found = [
        str(tmp_path / "absent"),
        script(tmp_path / "shim", "echo 'pyenv: python3.13: command not found' >&2; exit 127"),
        script(tmp_path / "silent", "exit 0"),
        fake(tmp_path / "old", "3.9.18"),
        fake(tmp_path / "no-venv", "3.11.2", venv=False),
        fake(tmp_path / "good", "3.12.1"),
        fake(tmp_path / "newer", "3.13.0"),
    ]
    assert choose(None, found).executable == str(tmp_path / "good")
    assert choose(str(tmp_path / "newer"), found).executable == str(tmp_path / "newer")


def test_what_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is no Python 3 that runs"):
        choose(str(tmp_path / "absent"), [fake(tmp_path / "good")])


def test_without_any_the_message_lists_what_was_seen(tmp_path: Path) -> None:
    old = fake(tmp_path / "old", "3.9.18")
    with pytest.raises(SetupError, match=r"old is Python 3\.9\.18"):
        choose(None, [old, old])


def test_every_release_is_found_once_the_usable_one_first(tmp_path: Path) -> None:
    found = find_all(
        [
            fake(tmp_path / "a", "3.11.2", venv=False),
            fake(tmp_path / "b", "3.11.2"),
            fake(tmp_path / "c", "3.11.7"),
            fake(tmp_path / "d", "3.11.7"),
        ]
    )
    assert [Path(each.executable).name for each in found] == ["b", "c"]


def test_the_newest_that_serves(tmp_path: Path) -> None:
    found = [
        fake(tmp_path / "old", "3.11.9"),
        fake(tmp_path / "new", "3.13.10"),
        fake(tmp_path / "less", "3.13.9"),
        fake(tmp_path / "no-venv", "3.14.0", venv=False),
    ]
    assert newest(found).executable == str(tmp_path / "new")
    with pytest.raises(SetupError, match="no-venv"):
        newest(found[3:])


def test_the_script_names_the_default_and_the_newest() -> None:
    for option, wanted in (("--default", choose(sys.executable)), ("--newest", newest())):
        answer = subprocess.run(
            [sys.executable, ROOT / "tools" / "interpreters.py", option],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == wanted.executable


def test_candidates_come_from_the_path_and_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    (tmp_path / "versions" / "3.13.0" / "bin").mkdir(parents=True)
    found = list(commands(path="/one:/two", elsewhere=("{pyenv}/versions/*/bin",)))
    assert found[:2] == ["/one/python3", "/two/python3"]
    assert str(tmp_path / "versions/3.13.0/bin/python3.13") in found


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'cargo 1.60.0 (abc 2022-01-01)'", "and this is 1.60.0; cure: rustup update"),
        ("echo 'no default toolchain' >&2; exit 1", "does not run: no default toolchain"),
    ],
)
def test_a_cargo_that_does_not_serve_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    script(tmp_path / "cargo", body)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SetupError, match=re.escape(message)):
        environment.check_cargo()


def test_a_missing_cargo_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="none is on PATH; cure: install rustup"):
        environment.check_cargo()


def test_a_newer_cargo_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "cargo", "echo 'cargo 1.100.0-nightly (abc 2027-01-01)'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    environment.check_cargo()


def test_no_environment_waits_for_the_lock_of_another() -> None:
    # One kind is made while another is being made.
    interpreter = probe(sys.executable)
    assert interpreter is not None
    locks = {environment.Environment(kind, interpreter).lock for kind in environment.GROUPS}
    assert len(locks) == len(environment.GROUPS)


def test_a_failed_step_shows_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    interpreter = probe(sys.executable)
    assert interpreter is not None
    with pytest.raises(SetupError, match=r"this failed \(3\): sh"):
        environment.Environment("dev", interpreter).run(
            "sh", "-c", "echo why; echo more >&2; exit 3"
        )
    assert capfd.readouterr().err == "why\nmore\n"


def test_the_shell_part_skips_what_fails(tmp_path: Path) -> None:
    script(tmp_path / "python3", "exit 127")
    script(tmp_path / "python3.12", f'exec {sys.executable} "$@"')
    answer = subprocess.run(
        [ROOT / "tools" / "python", "-c", "print(1)"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHON": "/no/such/python"},
        capture_output=True,
        text=True,
    )
    assert (answer.stdout, answer.stderr) == ("1\n", "")


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (declared,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    answer = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True)
    listed = [line.split()[0] for line in answer.stdout.splitlines()]
    assert listed == targets
    assert set(listed) == set(declared.split())
