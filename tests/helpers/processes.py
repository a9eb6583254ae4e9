"""Processes of `plait.Process` that tests run."""

from collections.abc import Callable
from typing import Any

import plait

LIMIT = 60


def run(target: Callable[..., object], *args: Any, **options: Any) -> plait.Process:
    """Run something in a process; return the process, which has ended."""
    process = plait.Process(target=target, args=args, **options)
    process.start()
    process.join(LIMIT)
    assert not process.is_alive()
    return process
