"""Runs the tests with every access to memory checked: `make san`.

    tools/python tools/environment.py san python tools/san.py [ARGUMENTS OF PYTEST ...]

The Rust code is compiled with AddressSanitizer; the interpreter is not, so the sanitizer's library
is loaded before it, and Python takes each object from malloc, or an object that is used after its
end would be a live part of Python's own arenas. What is found goes to files, of child processes
too: a test that expects its child to die would hide it.

Leaks are not looked for: the interpreter itself keeps much to the end. `make soak` counts those.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = {
    "detect_leaks": "0",
    # Tests of dying workers kill themselves with these; a wild access of ours
    # still ends the run by the signal.
    "handle_segv": "0",
    "handle_sigbus": "0",
    "handle_abort": "0",
    "handle_sigfpe": "0",
    "handle_sigill": "0",
    # Python asks for sizes that cannot be had, and takes no for an answer.
    "allocator_may_return_null": "1",
    "strict_init_order": "1",
    "exitcode": "77",
}


def library() -> str:
    """Find the sanitizer's library for a program that was compiled without it."""
    names = ("libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan-aarch64.so")
    for compiler in (os.environ.get("CC", "cc"), "gcc", "clang"):
        if shutil.which(compiler) is None:
            continue
        for name in names:
            command = [compiler, f"-print-file-name={name}"]
            found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            # The bare name comes back where there is none.
            if Path(found).is_absolute() and Path(found).exists():
                return str(Path(found).resolve())
    sys.exit(
        "error: make san needs AddressSanitizer's shared library, which comes with gcc or clang, "
        "and neither has one; cure: install gcc (Debian: apt install gcc)"
    )


def python_tests(arguments: Sequence[str], reports: Path) -> int:
    """Run pytest on the checked module; return its exit status."""
    options = {**OPTIONS, "log_path": str(reports / "asan")}
    variables = {
        **os.environ,
        "LD_PRELOAD": library(),
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in options.items()),
        "PYTHONMALLOC": "malloc",
        "PLAIT_ALLOW_DEBUG": "1",
        "PLAIT_SANITIZER": "address",
    }
    for name in ("RUSTFLAGS", "CARGO_BUILD_TARGET"):
        variables.pop(name, None)
    command = [sys.executable, "-m", "pytest", "--quiet", "--override-ini=timeout=600", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


def main(arguments: Sequence[str]) -> None:
    """Run all tests; end with an error if one fails or anything was found."""
    cargo = ["cargo", "test", "--quiet", "--locked", "--workspace", "--exclude", "plait-py"]
    rust = subprocess.run(cargo, cwd=ROOT).returncode
    reports = Path(os.environ["CARGO_TARGET_DIR"]) / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    python = python_tests(arguments, reports)
    found = sorted(reports.iterdir())
    for report in found:
        print(f"--- {report.name}\n{report.read_text(errors='replace')}")
    print(
        f"make san: Rust tests {'failed' if rust else 'passed'}, "
        f"Python tests {'failed' if python else 'passed'}, memory errors: {len(found)}"
    )
    sys.exit(bool(rust or python or found))


if __name__ == "__main__":
    main(sys.argv[1:])
