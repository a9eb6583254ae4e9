"""Runs every check of `make lint`, shows what fails, and says which ran."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A check each: its name, its command, and what to do where its program is missing.
RUSTUP = "rustup component add rustfmt clippy"
CHECKS = (
    ("rustfmt", ("cargo", "fmt", "--all", "--check"), RUSTUP),
    (
        "clippy",
        (
            "cargo",
            "clippy",
            "--quiet",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-Dwarnings",
        ),
        RUSTUP,
    ),
    (
        "rustfmt of the load",
        ("cargo", "fmt", "--manifest-path", "benches/load/Cargo.toml", "--check"),
        RUSTUP,
    ),
    (
        "clippy of the load",
        ("tools/load", "clippy", "--all-targets", "--", "-Dwarnings"),
        RUSTUP,
    ),
    ("ruff format", ("ruff", "format", "--check", "--quiet", "--diff"), "make develop"),
    ("ruff check", ("ruff", "check", "--quiet"), "make develop"),
    ("mypy", ("mypy", "--no-error-summary"), "make develop"),
    ("bash -n", ("bash", "-n", ".ci/run"), "install bash"),
    (
        "sh -n",
        ("sh", "-c", "for each in python loom load; do sh -n tools/$each || exit; done"),
        "install a POSIX shell",
    ),
)
# cargo finds these by name; without them its own message does not say what to do.
PLUGINS = {"fmt": "rustfmt", "clippy": "cargo-clippy"}


def missing(command: tuple[str, ...]) -> str | None:
    """Name the program that is not installed, if one is not."""
    program = PLUGINS.get(command[1], command[0]) if command[0] == "cargo" else command[0]
    if shutil.which(program) is None:
        return program
    if command[0] == "cargo":
        # rustup leaves a shim behind for a component that is not installed.
        answer = subprocess.run(
            [program, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        return program if answer.returncode else None
    return None


def main() -> int:
    """Run them all; the exit status is 1 if one fails."""
    failed = []
    for name, command, cure in CHECKS:
        program = missing(command)
        if program:
            print(f"{name}: {program} is not installed; cure: {cure}", file=sys.stderr)
            failed.append(name)
        elif subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode:
            print(f"{name}: failed: {' '.join(command)}", file=sys.stderr)
            failed.append(name)
    results = (f"{name} {'FAILED' if name in failed else 'ok'}" for name, *_ in CHECKS)
    print("lint ran:", ", ".join(results), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
