"""Small files of JSON that are as good as not there where they cannot be read or written."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

__all__ = ["read_json", "write_json"]


def read_json(path: str) -> Any:
    """Return what a file says; None if there is none, or it is not JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: str, told: object) -> None:
    """Write a file where that can be done: whoever reads finds the old one or the new one."""
    text = json.dumps(told, indent=2)
    temporary = None
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=os.path.dirname(path), suffix=".tmp", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
