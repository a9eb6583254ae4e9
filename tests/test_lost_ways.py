"""The ways to lose an exception that docs/lost.md lists: lost by Python, reported by plait."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.losing_ways import PLAIT, STANDARD, WAYS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "lost.md"

SILENT = "nothing"


def stderr_of(tmp_path, text, *words):
    path = tmp_path / "program.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, *words, str(path)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PLAIT_ALLOW_DEBUG": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def line_of(text):
    """The line that submits, or None."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    return lines[0] if lines else None


def check_report(way, text, err):
    """Check that the loss was reported once, and that nothing else was said."""
    line = line_of(text)
    where = rf", submitted at \S*program\.py:{line}," if line else ""
    name = rf"(\S*\.)?{re.escape(way.name)}"
    raised = "RuntimeWarning" if "awaits" in way.title else "ValueError"
    (first, *rest) = err.splitlines()
    assert re.fullmatch(rf"{name}{where} raised {raised}, and nobody asked for it", first), err
    assert err.count("nobody asked") == 1, err
    assert err.count("never retrieved") <= 1
    if raised == "ValueError":
        # That of another process, where it was raised there.
        assert "Traceback (most recent call last):" in err
        assert "ValueError: boom" in rest
        assert re.search(r'program.py", line \d+, in (fail|slow)', err)


def ids(ways):
    return [way.title for way in ways]


@pytest.mark.parametrize("way", WAYS, ids=ids(WAYS))
def test_python_says_what_the_page_says(tmp_path, way):
    err = stderr_of(tmp_path, way.program(STANDARD))
    if way.prints:
        assert way.prints in err or way.or_prints in err
    else:
        assert err == ""


PLAIN = [way for way in WAYS if not way.run]


@pytest.mark.parametrize("way", PLAIN, ids=ids(PLAIN))
def test_plait_reports_it_once(tmp_path, way):
    text = way.program(PLAIT)
    check_report(way, text, stderr_of(tmp_path, text))


@pytest.mark.parametrize("options", [[], ["--pools"]], ids=["run", "run --pools"])
@pytest.mark.parametrize("way", WAYS, ids=ids(WAYS))
def test_plait_run_reports_it_once(tmp_path, way, options):
    text = way.program(STANDARD)
    err = stderr_of(tmp_path, text, "-m", "plait", "run", *options)
    check_report(way, text, err)


def test_the_page_lists_them():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]
    assert [(title, python, plait) for _, title, python, plait in cells] == [
        (
            way.title,
            f"`{way.prints}`" if way.prints else SILENT,
            "reported under `plait run`" if way.run else "reported",
        )
        for way in WAYS
    ]
