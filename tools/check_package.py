"""Checks that `pip wheel .` gives a wheel that works where the sources are not.

Under the oldest and the newest CPython found: pip builds the wheel from a copy of the sources in
its own isolated environment, as it does for a user; the wheel is installed into a fresh
environment, imported from another folder with warnings as errors, and asked its version.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from environment import ROOT, check_cargo
from interpreters import Interpreter, SetupError, find_all

GENERATED = ("target", ".venv*", ".git", "*.so", "__pycache__", ".*_cache", ".hypothesis", "dist")
# What the wheel must show: it imports in silence, is no debug build, and both commands work.
TRY = """
import plait
from plait._binding import native
assert not native.DEBUG_BUILD, "a debug build came out of pip"
assert "site-packages" in plait.__file__, plait.__file__
"""


def run(*command: str, cwd: Path, env: dict[str, str]) -> str:
    """Run a command, quiet unless it fails; return what it printed."""
    answer = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if answer.returncode:
        raise SetupError(f"{' '.join(command)} failed:\n{answer.stdout}")
    return answer.stdout.strip()


def check_content(wheel: Path) -> None:
    """Make sure that the wheel has what it must have, and one native module."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    native = [name for name in names if name.endswith(".so")]
    if len(native) != 1:
        raise SetupError(f"{wheel.name} should hold one native module, and holds {native}")
    for wanted in ("plait/py.typed", "plait/_native.pyi", "LICENSE-APACHE", "LICENSE-MIT"):
        if not any(name.endswith(wanted) for name in names):
            raise SetupError(f"{wheel.name} lacks {wanted}")


def check(interpreter: Interpreter) -> str:
    """Build, install and try; return the name of the wheel."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PLAIT_ALLOW_DEBUG"):
        variables.pop(name, None)
    # The dependencies' builds are kept between runs; ours are what is checked.
    variables["CARGO_TARGET_DIR"] = str(ROOT / "target" / "package" / interpreter.release)
    with tempfile.TemporaryDirectory(prefix="plait-package-") as name:
        folder = Path(name)
        source = folder / "source"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*GENERATED))
        python = folder / "env" / "bin" / "python"
        run(interpreter.executable, "-m", "venv", str(folder / "env"), cwd=folder, env=variables)
        pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--quiet")
        wheels = str(folder / "wheels")
        run(*pip, "wheel", "--no-deps", "-w", wheels, ".", cwd=source, env=variables)
        (wheel,) = (folder / "wheels").glob("*.whl")
        check_content(wheel)
        shutil.rmtree(source)
        run(*pip, "install", str(wheel), cwd=folder, env=variables)
        run(str(python), "-W", "error", "-c", TRY, cwd=folder, env=variables)
        by_name = run(str(folder / "env/bin/plait"), "--version", cwd=folder, env=variables)
        by_module = run(str(python), "-m", "plait", "--version", cwd=folder, env=variables)
        if by_name != by_module:
            raise SetupError(f"plait --version says {by_name!r}, python -m plait {by_module!r}")
        return f"{wheel.name}: {by_name}"


def main() -> int:
    """Check each; the exit status is 1 if one fails."""
    try:
        check_cargo()
        usable = sorted(
            (each for each in find_all() if not each.problem), key=lambda it: it.version
        )
        if not usable:
            raise SetupError("no CPython 3.11 to 3.14 was found that serves")
        for interpreter in dict.fromkeys((usable[0], usable[-1])):
            print(f"{interpreter}: {check(interpreter)}", flush=True)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
