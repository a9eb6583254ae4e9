"""Every Python example of the documentation works as it stands, and every link leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "crates/README.md")
]
PAGES += sorted((ROOT / "docs").glob("**/*.md"))


def examples() -> list[object]:
    """Find the blocks marked `python`, each with the page and line where it stands."""
    found: list[object] = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("source", examples())
def test_example_runs(source: str, tmp_path: Path) -> None:
    # A file, not `-c`: an example may hand its functions to processes.
    script = tmp_path / "example.py"
    script.write_text(source)
    answer = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    # What an example says it prints, it prints: `print(...)  # text`.
    promised = re.findall(r"^ *print\(.*\)  # (.*)$", source, re.MULTILINE)
    for line in promised:
        assert line in answer.stdout.splitlines(), f"promised {line!r}, printed {answer.stdout!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
