"""Brings an environment of this checkout up to date, then runs a command in it.

    tools/python tools/environment.py [--python PATH] KIND [COMMAND ...]

An environment is a folder `.venvs/RELEASE-KIND` with a `target/RELEASE` beside it: one for each
interpreter, so that going from one to another rebuilds nothing. KIND is

- `dev`: editable, a debug build, with the tools of the tests and of `make lint`;
- `run`: what a user has who installs the wheel, an optimised build;
- `bench`: the same wheel, with the peers that it is measured beside;
- `san`: a wheel in which every access to memory is checked (AddressSanitizer, which only a nightly
  compiler has), with the tools of the tests.

Nothing is trusted to be fresh because of its date. Packages are installed anew when the lists in
pyproject.toml or the interpreter change. Whether the native module must be rebuilt, cargo says,
each time; a wheel is installed when its content differs from the one installed last.
"""

import argparse
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interpreters import Interpreter, SetupError, choose, probe

ROOT = Path(__file__).resolve().parent.parent
GROUPS: dict[str, tuple[str, ...]] = {
    "dev": ("test", "lint"),
    "run": (),
    "bench": ("bench",),
    "san": ("test",),
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment of one kind for one interpreter."""

    kind: str
    interpreter: Interpreter

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / ".venvs" / f"{self.interpreter.release}-{self.kind}"

    @property
    def lock(self) -> Path:
        """What is locked while it is made."""
        return self.folder.parent / f"{self.folder.name}.lock"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    @property
    def target(self) -> Path:
        """Where cargo builds for it."""
        # A folder of its own for checked code, or each build would undo the other's.
        suffix = "-san" if self.kind == "san" else ""
        return ROOT / "target" / f"{self.interpreter.release}{suffix}"

    def variables(self) -> dict[str, str]:
        """Return the variables that commands run with: as if it had been activated."""
        variables = dict(os.environ)
        # maturin does not take both, and a user's own path would shadow what is tested.
        for name in ("CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH"):
            variables.pop(name, None)
        variables["VIRTUAL_ENV"] = str(self.folder)
        variables["PATH"] = os.pathsep.join((str(self.folder / "bin"), os.environ.get("PATH", "")))
        variables["CARGO_TARGET_DIR"] = str(self.target)
        # The same for maturin, cargo test and clippy, or each would undo the others' build.
        variables["PYO3_PYTHON"] = self.python
        if self.kind == "san":
            variables.update(checked_build())
        return variables

    def run(self, *command: str) -> None:
        """Run a command of the set-up, quiet unless it fails.

        Raises:
            SetupError: it fails; its output has been shown.
        """
        answer = subprocess.run(
            command,
            cwd=ROOT,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if answer.returncode:
            sys.stderr.write(answer.stdout)
            raise SetupError(f"this failed ({answer.returncode}): {' '.join(command)}")

    def update(self) -> None:
        """Make it, or whatever of it is out of date.

        Raises:
            SetupError: something is missing on this machine or does not build.
        """
        check_cargo()
        self.folder.parent.mkdir(exist_ok=True)
        with locked(self.lock):
            UPDATES[self.kind](self)


def requirements(kind: str) -> list[str]:
    """List what pip must install before plait itself: the lists of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        tables = tomllib.load(file)
    project = tables["project"]
    lists = [tables["build-system"]["requires"], project["dependencies"]]
    lists += project["optional-dependencies"].values()
    lists += [tables["dependency-groups"][group] for group in GROUPS[kind]]
    return sorted({requirement for each in lists for requirement in each})


def _packages(environment: Environment) -> bool:
    """Make the environment anew if its packages are not what is asked; True if it was."""
    wanted = json.dumps([environment.interpreter.executable, requirements(environment.kind)])
    stamp = environment.folder / "packages.json"
    if stamp.exists() and stamp.read_text() == wanted and probe(environment.python):
        return False
    # Crates and packages come over the same wire, but not at the same time of it.
    fetch = subprocess.Popen(
        ["cargo", "fetch", "--quiet", "--locked"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        shutil.rmtree(environment.folder, ignore_errors=True)
        environment.run(environment.interpreter.executable, "-m", "venv", str(environment.folder))
        pip = (environment.python, "-m", "pip", "--disable-pip-version-check", "--quiet")
        environment.run(*pip, "install", "--no-input", *requirements(environment.kind))
    finally:
        # Only a head start: what it could not fetch, the build fetches or complains of.
        fetch.wait()
    stamp.write_text(wanted)
    return True


def _update_dev(environment: Environment) -> None:
    anew = _packages(environment)
    # The metadata of the editable install: entry points, version, dependencies.
    inputs = [ROOT / "pyproject.toml", ROOT / "Cargo.toml", ROOT / "crates/plait-py/Cargo.toml"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = environment.folder / "editable.sha256"
    same = not anew and stamp.exists() and stamp.read_text() == digest
    maturin = str(environment.folder / "bin" / "maturin")
    environment.run(
        maturin, "develop", "--quiet", "--locked", *(["--skip-install"] if same else [])
    )
    stamp.write_text(digest)


def _update_wheel(environment: Environment) -> None:
    _packages(environment)
    if environment.kind == "run":
        wheel = _build(environment, "--release")
    elif environment.kind == "san":
        wheel = _build(environment)
    else:
        # One wheel for both, or there would be two slow builds of the same thing.
        release = Environment("run", environment.interpreter)
        release.update()
        wheel = _wheel(release)
    stamp = environment.folder / "wheel.sha256"
    content = _content(wheel)
    if not (stamp.exists() and stamp.read_text() == content):
        stamp.unlink(missing_ok=True)
        pip = (environment.python, "-m", "pip", "--disable-pip-version-check", "--quiet")
        environment.run(*pip, "install", "--no-input", "--no-deps", "--force-reinstall", str(wheel))
        stamp.write_text(content)


def _build(environment: Environment, *profile: str) -> Path:
    folder = environment.target / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    maturin = str(environment.folder / "bin" / "maturin")
    # "linux": for this machine; what a published wheel must link to is not asked here.
    options = ("--compatibility", "linux", "--interpreter", environment.python)
    environment.run(
        maturin, "build", *profile, "--quiet", "--locked", *options, "--out", str(folder)
    )
    return _wheel(environment)


def _wheel(environment: Environment) -> Path:
    (wheel,) = (environment.target / "wheels").glob("*.whl")
    return wheel


def _content(wheel: Path) -> str:
    """Digest what is in the wheel, without the dates."""
    with zipfile.ZipFile(wheel) as archive:
        entries = sorted((entry.filename, entry.CRC) for entry in archive.infolist())
    return hashlib.sha256(repr(entries).encode()).hexdigest()


UPDATES: Mapping[str, Callable[[Environment], None]] = {
    "dev": _update_dev,
    "run": _update_wheel,
    "bench": _update_wheel,
    "san": _update_wheel,
}


@functools.cache
def checked_build() -> Mapping[str, str]:
    """Return the variables by which cargo and maturin build with AddressSanitizer.

    Raises:
        SetupError: no nightly compiler is there.
    """
    cure = "make san needs a nightly Rust compiler: only that has AddressSanitizer; cure: "
    chosen = {}
    compiler = _output("rustc", "-vV")
    if "nightly" not in compiler:
        toolchains = _output("rustup", "toolchain", "list").split()
        nightlies = [name for name in toolchains if name.startswith("nightly")]
        if not nightlies:
            raise SetupError(cure + "rustup toolchain install nightly --profile minimal")
        # The undated one, which `rustup update` keeps fresh, sorts last.
        chosen["RUSTUP_TOOLCHAIN"] = max(nightlies)
        compiler = _output("rustc", f"+{chosen['RUSTUP_TOOLCHAIN']}", "-vV")
    host = re.search(r"^host: (.*)$", compiler, re.MULTILINE)
    if host is None:
        raise SetupError(f"{cure}the one found does not run: rustup update nightly")
    # With a target named, build scripts and macros are left as they are. Optimised a
    # little: checked code that is not takes minutes for what the tests do in seconds.
    return {
        **chosen,
        "CARGO_BUILD_TARGET": host[1],
        "RUSTFLAGS": "-Zsanitizer=address",
        "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    }


def _output(*command: str) -> str:
    """Return what a command prints; nothing if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    except FileNotFoundError:
        return ""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two makes at once take turns."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_cargo() -> None:
    """Make sure that a cargo is there that is new enough.

    Raises:
        SetupError: it is not; the message says what to do.
    """
    with (ROOT / "Cargo.toml").open("rb") as file:
        wanted: str = tomllib.load(file)["workspace"]["package"]["rust-version"]
    try:
        answer = subprocess.run(["cargo", "--version"], capture_output=True, text=True, cwd=ROOT)
    except FileNotFoundError:
        message = f"plait needs cargo {wanted} or newer, and none is on PATH; cure: install rustup"
        raise SetupError(message) from None
    if answer.returncode:
        raise SetupError(f"cargo does not run: {answer.stderr.strip()}")
    found = answer.stdout.split()[1]
    if tuple(map(int, found.split("-")[0].split(".")[:2])) < tuple(map(int, wanted.split("."))):
        cure = "rustup update stable"
        raise SetupError(f"plait needs cargo {wanted} or newer, and this is {found}; cure: {cure}")


def main(arguments: Sequence[str]) -> None:
    """Update, and become the command."""
    parser = argparse.ArgumentParser(prog="environment.py")
    parser.add_argument("--python", default=os.environ.get("PYTHON"))
    parser.add_argument("kind", choices=sorted(GROUPS))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        environment = Environment(options.kind, choose(options.python))
        environment.update()
    except SetupError as error:
        sys.exit(f"error: {error}")
    if options.command:
        sys.stdout.flush()
        os.execvpe(options.command[0], options.command, environment.variables())


if __name__ == "__main__":
    main(sys.argv[1:])
