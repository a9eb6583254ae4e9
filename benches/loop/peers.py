"""The loops that are measured, and which of them are here."""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import cast

Factory = Callable[[], asyncio.AbstractEventLoop]

OURS = "plait"
# The one that the bars are counted in.
REFERENCE = "uvloop"
PEERS = ("asyncio", REFERENCE, "rloop", "zloop", OURS)


def present(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split names into those that can be imported here and those that cannot."""
    here = [name for name in names if importlib.util.find_spec(name)]
    return here, [name for name in names if name not in here]


def factory(name: str) -> Factory:
    """Return what makes a loop of a peer."""
    return cast(Factory, importlib.import_module(name).new_event_loop)
