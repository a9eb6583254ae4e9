"""Finds the interpreters of this machine that plait can be built for.

Run as a script, it lists every one, and says of the others what is wrong with them; with `--newest`
it prints the path of the newest that serves, with `--default` of the one that is taken by default.
"""

import functools
import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

OLDEST, NEWEST = (3, 11), (3, 14)
NAMES = ("python3", *(f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)))
# Where interpreters live that are not on PATH; pyenv shows one version at a time.
ELSEWHERE = (
    "{pyenv}/versions/*/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/opt/*/bin",
    "/opt/python/*/bin",
    "~/.local/share/uv/python/*/bin",
)

# Run by the candidate, which may be any Python 3: no newer syntax.
PROBE = """
import importlib.util, json, sys, sysconfig
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "version": list(sys.version_info[:3]),
    "release": sys.version.split()[0],
    "implementation": sys.implementation.name,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""


class SetupError(Exception):
    """Something that the set-up needs is missing; the message says what, and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """One installed interpreter, and why it cannot be used, if so."""

    executable: str
    version: tuple[int, int, int]
    release: str
    problem: str | None = None

    def __str__(self) -> str:
        """Name the version and the place."""
        return f"{self.release} ({self.executable})"


@functools.cache
def probe(command: str) -> Interpreter | None:
    """Ask the interpreter behind `command`; None if there is none that answers."""
    try:
        answer = subprocess.run(
            [command, "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    major, minor, micro = facts["version"]
    return Interpreter(
        executable=facts["executable"],
        version=(major, minor, micro),
        release=facts["release"],
        problem=_problem(facts),
    )


def _problem(facts: dict[str, object]) -> str | None:
    if facts["implementation"] != "cpython":
        return f"is {facts['implementation']}; plait needs CPython"
    version = facts["version"]
    assert isinstance(version, list)
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        return f"is Python {facts['release']}; plait needs 3.{OLDEST[1]} to 3.{NEWEST[1]}"
    if facts["free_threaded"]:
        return "is a free-threaded build; plait needs the interpreter lock for now"
    if not facts["venv"]:
        return f"cannot make environments; cure: apt install python3.{version[1]}-venv"
    return None


def commands(path: str | None = None, elsewhere: Iterable[str] = ELSEWHERE) -> Iterator[str]:
    """List every file that by its name is a Python 3: on PATH first, then in the usual places."""
    pyenv = os.environ.get("PYENV_ROOT") or "~/.pyenv"
    search = os.environ.get("PATH", "") if path is None else path
    folders = [folder for folder in search.split(os.pathsep) if folder]
    for name in NAMES:
        for folder in folders:
            yield os.path.join(folder, name)
    for pattern in elsewhere:
        for folder in sorted(glob.glob(os.path.expanduser(pattern.format(pyenv=pyenv)))):
            for name in NAMES:
                yield os.path.join(folder, name)


def find_all(found: Iterable[str] | None = None) -> list[Interpreter]:
    """List every Python 3 of the machine, in the order of preference, one for each release."""
    interpreters: dict[str, Interpreter] = {}
    for command in commands() if found is None else found:
        if not os.access(command, os.X_OK):
            continue
        interpreter = probe(command)
        if interpreter is None:
            continue
        known = interpreters.get(interpreter.release)
        if known is None or (known.problem and not interpreter.problem):
            interpreters[interpreter.release] = interpreter
    return list(interpreters.values())


def choose(
    wanted: str | None = os.environ.get("PYTHON"), found: Iterable[str] | None = None
) -> Interpreter:
    """Pick the interpreter to use: `wanted`, or the first that serves.

    Raises:
        SetupError: none does.
    """
    if wanted:
        interpreter = probe(shutil.which(wanted) or wanted)
        if interpreter is None:
            raise SetupError(f"PYTHON={wanted} is no Python 3 that runs")
        if interpreter.problem:
            raise SetupError(f"PYTHON={wanted} {interpreter.problem}")
        return interpreter
    broken: list[Interpreter] = []
    for command in commands() if found is None else found:
        interpreter = probe(command) if os.access(command, os.X_OK) else None
        if interpreter and not interpreter.problem:
            return interpreter
        if interpreter and interpreter not in broken:
            broken.append(interpreter)
    seen = "".join(f"\n  {each.executable} {each.problem}" for each in broken)
    raise SetupError(f"plait needs CPython 3.11 to 3.14, and none was found{seen}")


def newest(found: Iterable[str] | None = None) -> Interpreter:
    """Pick the newest interpreter that serves.

    Raises:
        SetupError: none does.
    """
    serving = [each for each in find_all(found) if not each.problem]
    return max(serving, key=lambda each: each.version) if serving else choose(None, found)


def main() -> None:
    """Print a line for each interpreter, or the path of the one that is asked for."""
    match sys.argv[1:]:
        case ["--newest"]:
            print(newest().executable)
        case ["--default"]:
            print(choose().executable)
        case _:
            for each in find_all():
                problem = f": {each.problem}" if each.problem else ""
                print(f"{each.release:10} {each.executable}{problem}")


if __name__ == "__main__":
    main()
