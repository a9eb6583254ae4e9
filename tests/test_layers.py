"""The arrows between the layers point one way, and each power is where DESIGN.md puts it."""

import ast
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "plait"

# Each crate, and those below it that it may name.
CRATES: Mapping[str, frozenset[str]] = {
    "plait-sys": frozenset(),
    "plait-shm": frozenset({"plait-sys"}),
    "plait-trace": frozenset({"plait-sys"}),
    "plait-loop": frozenset({"plait-sys", "plait-shm", "plait-trace"}),
    "plait-pool": frozenset({"plait-sys", "plait-shm", "plait-trace"}),
    "plait-py": frozenset({"plait-sys", "plait-shm", "plait-trace", "plait-loop", "plait-pool"}),
}
# A dependency from outside, and the one crate that may have it.
OWNERS = {"rustix": "plait-sys", "libc": "plait-sys", "pyo3": "plait-py"}
# Where the word `unsafe` may stand.
UNSAFE = ("crates/plait-sys/", "crates/plait-shm/", "crates/plait-py/src/hot/")
# The top of the Python package: nothing below may import it.
TOP = ("plait.__main__", "plait._cli", "plait._tour")


def crate_arrows() -> dict[str, set[str]]:
    """Each crate of the workspace with all that it depends on, tests' dependencies included."""
    answer = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--locked", "--format-version=1"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    packages = json.loads(answer.stdout)["packages"]
    return {
        package["name"]: {dependency["name"] for dependency in package["dependencies"]}
        for package in packages
    }


def wrong_crates(arrows: Mapping[str, set[str]]) -> list[str]:
    """What is wrong with a graph of crates."""
    wrong = [f"{name} is not in the table of layers" for name in arrows if name not in CRATES]
    for name, dependencies in arrows.items():
        for dependency in sorted(dependencies):
            if dependency.startswith("plait-") and dependency not in CRATES.get(name, ()):
                wrong.append(f"{name} -> {dependency}")
            if name != OWNERS.get(dependency, name):
                wrong.append(f"{name} -> {dependency}: only {OWNERS[dependency]} may")
    return wrong


def module_name(path: Path) -> str:
    parts = ("plait", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Every name that a module imports, in full, wherever in it the import stands."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base]) if base else ".".join(parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def python_arrows() -> dict[str, set[str]]:
    return {
        module_name(path): set(
            imports(path.read_text(), module_name(path), path.name == "__init__.py")
        )
        for path in PACKAGE.rglob("*.py")
    }


def is_under(module: str, roots: Iterable[str]) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def wrong_modules(arrows: Mapping[str, set[str]]) -> list[str]:
    """What is wrong with a graph of Python modules."""
    wrong = []
    for module, names in arrows.items():
        for name in sorted(names):
            if is_under(name, ["plait._native"]) and module != "plait._binding":
                wrong.append(f"{module} -> {name}: only plait._binding may")
            if is_under(name, TOP) and not is_under(module, TOP):
                wrong.append(f"{module} -> {name}")
    return wrong


def code_of(source: str) -> str:
    """Rust without comments and string literals, roughly: enough to look for a keyword."""
    pattern = r"//[^\n]*|/\*.*?\*/|r(#*)\"(?s:.*?)\"\1|\"(?:\\.|[^\"\\])*\""
    return re.sub(pattern, " ", source, flags=re.DOTALL)


def wrong_unsafe(sources: Mapping[str, str]) -> list[str]:
    """The files that say `unsafe` where it has no place."""
    return [
        path
        for path, source in sources.items()
        if not path.startswith(UNSAFE) and re.search(r"\bunsafe\b", code_of(source))
    ]


def rust_sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob("crates/**/*.rs")}


def test_crates_depend_downwards() -> None:
    arrows = crate_arrows()
    assert set(arrows) == set(CRATES)
    assert wrong_crates(arrows) == []


def test_modules_depend_downwards() -> None:
    arrows = python_arrows()
    assert "plait._binding" in arrows
    assert wrong_modules(arrows) == []


def test_unsafe_stands_where_it_may() -> None:
    sources = rust_sources()
    assert "crates/plait-sys/src/lib.rs" in sources
    assert wrong_unsafe(sources) == []


def test_a_wrong_crate_is_seen() -> None:
    arrows = {
        "plait-sys": {"rustix", "plait-loop"},
        "plait-pool": {"plait-loop", "libc"},
        "plait-loop": {"plait-sys", "pyo3"},
        "plait-new": set(),
    }
    assert wrong_crates(arrows) == [
        "plait-new is not in the table of layers",
        "plait-sys -> plait-loop",
        "plait-pool -> libc: only plait-sys may",
        "plait-pool -> plait-loop",
        "plait-loop -> pyo3: only plait-py may",
    ]


def test_a_wrong_import_is_seen() -> None:
    source = "def f():\n    from . import _native\n    from ._tour.table import draw\n"
    arrows = {"plait._future": set(imports(source, "plait._future", is_package=False))}
    assert wrong_modules(arrows) == [
        "plait._future -> plait._native: only plait._binding may",
        "plait._future -> plait._tour.table",
        "plait._future -> plait._tour.table.draw",
    ]
    inside = {"plait._binding": {"plait._native"}, "plait._tour.table": {"plait._tour.picture"}}
    assert wrong_modules(inside) == []


def test_a_stray_unsafe_is_seen() -> None:
    sources = {
        "crates/plait-loop/src/lib.rs": 'fn f() { let s = "x"; unsafe { g() } }',
        "crates/plait-pool/src/lib.rs": '// unsafe\nfn f() { h("unsafe"); /* unsafe\n*/ }',
        "crates/plait-py/src/hot/handle.rs": "unsafe { g() }",
        "crates/plait-py/src/lib.rs": 'unsafe extern "C" fn f() {}',
    }
    assert wrong_unsafe(sources) == ["crates/plait-loop/src/lib.rs", "crates/plait-py/src/lib.rs"]
