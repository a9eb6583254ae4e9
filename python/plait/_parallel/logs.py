"""The files for what the calls of `plait.parallel` print and log."""

from __future__ import annotations

import traceback
from pathlib import Path

__all__ = ["conclude", "prepare"]


def prepare(folder: Path, count: int) -> list[Path]:
    """Make the folder, and an empty file for each call.

    Raises:
        OSError: they cannot be made.

    """
    folder.mkdir(parents=True, exist_ok=True)
    width = max(3, len(str(count - 1)))
    # Whole, so that a call which changes the working directory finds its own.
    files = [(folder / f"{number:0{width}}.log").absolute() for number in range(count)]
    for file in files:
        file.write_bytes(b"")
    return files


def conclude(file: Path, error: BaseException) -> None:
    """Write at the end of a call's file what it has failed with.

    Raises:
        OSError: that cannot be written.

    """
    with file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
        stream.writelines(traceback.format_exception(error))
