"""Puts into effect what `plait._setting` took down of the user's process."""

import faulthandler
import logging
import os
import re
import sys
import warnings
from typing import Any

from plait import _cores
from plait._worker.protocol import Filter, Logging, Pattern, Settings

__all__ = ["apply"]


def apply(settings: Settings) -> None:
    """Make this process, the template, look like the user's."""
    sys.argv[:] = settings["argv"]
    if settings["umask"] is not None:
        os.umask(settings["umask"])
    sys.setrecursionlimit(settings["recursion_limit"])
    sys.set_int_max_str_digits(settings["max_str_digits"])
    sys.dont_write_bytecode = not settings["write_bytecode"]
    if settings["faulthandler"]:
        # Where a worker's last words go, from where they reach `WorkerDied`.
        faulthandler.enable(2)
    told = {name: os.environb[name] for name in settings["libraries"]}
    _cores.take_share(settings["cores"], told)
    _filter_warnings(settings["filters"])
    _set_levels(settings["logging"])


def _filter_warnings(filters: list[Filter]) -> None:
    # Resetting makes every module forget what it has warned of; no filter can be asked between
    # that and the new ones, for there is one thread.
    warnings.resetwarnings()
    live: list[Any] = warnings.filters  # type: ignore[assignment]
    live.extend(
        (action, _pattern(message), _category(*name), _pattern(module), line)
        for action, message, name, module, line in filters
    )


def _pattern(pattern: Pattern | None) -> re.Pattern[str] | str | None:
    if pattern is None:
        return None
    text, flags = pattern
    return text if flags is None else re.compile(text, flags)


class _Named(type):
    """A class that stands for another, of which only the name is known."""

    of: tuple[str, str]

    def __subclasscheck__(cls, other: type) -> bool:
        return any((base.__module__, base.__qualname__) == cls.of for base in other.__mro__)


def _category(module: str, name: str) -> type[Warning]:
    """Find a category, or make one that matches it, rather than import its module for it."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Warning):
        return found
    stand_in: type[Warning] = _Named(name, (Warning,), {"of": (module, name)})  # type: ignore[assignment]
    return stand_in


def _set_levels(told: Logging) -> None:
    for name, level in told["names"].items():
        if logging.getLevelName(level) != name and name not in ("WARN", "FATAL"):
            logging.addLevelName(level, name)
    logging.root.setLevel(told["root"])
    for name, (level, disabled) in told["loggers"].items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.disabled = disabled
    logging.disable(told["disable"])
    logging.captureWarnings(told["warnings"])
