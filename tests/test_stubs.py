"""The stub of the native module is its contract, and the public names are documented and typed."""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import plait

ROOT = Path(__file__).resolve().parent.parent
# PyO3 writes it; nobody imports it.
ALLOWED = "plait._native.__all__\n"


def stubtest(folder: Path, path: Path) -> str:
    """Compare the native module with the stub found on `path`; return the differences."""
    (folder / "allowed").write_text(ALLOWED)
    # Whether the Python around it is typed is the concern of `make lint`.
    (folder / "mypy.ini").write_text(
        "[mypy]\nignore_errors = true\nignore_missing_imports = true\n"
    )
    command = [sys.executable, "-m", "mypy.stubtest", "--concise"]
    # Which classes cannot be combined is a matter of memory layout, not of the contract.
    command += ["--ignore-disjoint-bases", "--mypy-config-file", "mypy.ini"]
    answer = subprocess.run(
        [*command, "--allowlist", "allowed", "--ignore-unused-allowlist", "plait._native"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = answer.stdout + answer.stderr
    assert answer.returncode == (1 if found else 0), found
    return found


def test_stub_equals_native_module(tmp_path: Path) -> None:
    assert stubtest(tmp_path, ROOT / "python") == ""


def test_a_wrong_stub_is_seen(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "python", tmp_path, dirs_exist_ok=True)
    stub = tmp_path / "plait" / "_native.pyi"
    wrong = stub.read_text().replace("def when(self)", "def when(self, zone: str)")
    stub.write_text(wrong + "\ndef nothing() -> None: ...\n")
    found = stubtest(tmp_path, tmp_path)
    assert "plait._native.nothing" in found
    assert "plait._native.TimerHandle.when" in found


def public() -> Iterator[tuple[str, object]]:
    """Yield the public names, and the public members that plait itself gives to classes."""
    for name in plait.__all__:
        thing = getattr(plait, name)
        yield name, thing
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    yield f"{name}.{member}", value


def unwrapped(thing: object) -> object:
    """Return the function behind a property, a static or a class method."""
    if isinstance(thing, property):
        return thing.fget
    return getattr(thing, "__func__", thing)


def test_public_names_are_sorted() -> None:
    assert list(plait.__all__) == sorted(plait.__all__)


def test_public_names_are_documented() -> None:
    bare = [
        full for full, thing in public() if callable(unwrapped(thing)) and not inspect.getdoc(thing)
    ]
    assert not bare, f"without a docstring: {bare}"


def test_public_functions_are_typed() -> None:
    for full, thing in public():
        function = unwrapped(thing)
        if not inspect.isfunction(function):
            continue
        signature = inspect.signature(function)
        bare = [
            each.name
            for each in signature.parameters.values()
            if each.annotation is each.empty and each.name not in ("self", "cls")
        ]
        assert not bare, f"plait.{full}: parameters without a type: {bare}"
        assert signature.return_annotation is not signature.empty, f"plait.{full}: no return type"
