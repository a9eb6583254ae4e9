"""What the benchmarks share: the machine, and the report."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def machine(libraries: Sequence[str] = ()) -> list[str]:
    """Describe what the figures were measured on, with the versions of what plait is beside."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    versions = [f"plait {metadata.version('plait')}" + (f" ({commit})" if commit else "")]
    versions += [
        f"{name} {metadata.version(name)}"
        for name in libraries
        if name != "plait" and any(each.name == name for each in metadata.distributions(name=name))
    ]
    return [
        f"- processor: {model}, {len(os.sched_getaffinity(0))} cores usable",
        f"- system: {platform.system()} {platform.release()}, {platform.libc_ver()[1]}",
        f"- Python: {platform.python_implementation()} {platform.python_version()}",
        f"- {', '.join(versions)}",
        f"- load when it began: {os.getloadavg()[0]:.2f}",
    ]


def median(values: Sequence[float]) -> float:
    """Return the median of the rounds."""
    return statistics.median(values)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay out a table in Markdown, its columns aligned for the terminal too."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]


def parser(description: str) -> argparse.ArgumentParser:
    """Make the parser of the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=7, help="interleaved rounds; medians are shown")
    made.add_argument(
        "--record",
        action="store_true",
        help="write to benches/results/, which is kept in git, instead of target/benches/",
    )
    return made


def written(name: str, *, record: bool) -> Path:
    """Say where a report is written."""
    return ROOT / ("benches/results" if record else "target/benches") / f"{name}.md"


def write(name: str, lines: Sequence[str], *, record: bool) -> None:
    """Print the report and write it to a file."""
    file = written(name, record=record)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    file.write_text(text)
    print(f"written to {file.relative_to(ROOT)}")
