"""What the workers of a pool see: this process as it is when the pool is made.

The other half, which puts it into effect in the template, is `plait._worker.setting`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable

from plait import _cores
from plait._worker.protocol import LIBRARIES, Filter, Logging, Pattern, Settings

__all__ = ["arguments", "directory", "environment", "executable", "settings"]


def executable() -> str:
    """Return the interpreter that the template runs.

    Raises:
        RuntimeError: there is none to be found.

    """
    if not sys.executable:
        raise RuntimeError(
            "sys.executable is empty: an embedded interpreter has to set it to a "
            "Python executable before it can make a process pool"
        )
    return sys.executable


def arguments(module: str = "plait._worker.template") -> list[str]:
    """Return the arguments of a template: this interpreter's flags, and where to begin."""
    # The private function that multiprocessing uses for the same purpose.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    path = [entry for entry in sys.path if isinstance(entry, str)]
    start = f"import sys; sys.path[:] = {path!r}; from {module} import main; main()"
    return [*flags, "-c", start]


def directory() -> str | None:
    """Return the working directory."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None  # deleted: the template stands in it as this process does


def environment(workers: int) -> list[tuple[bytes, bytes]]:
    """Return the environment of the workers.

    It is this process's, with each numeric library told to keep to a worker's share of the cores
    unless the user has told it something.
    """
    threads = b"%d" % _cores.share(workers)
    return list({**os.environb, **dict.fromkeys(_unset(), threads)}.items())


def _unset() -> list[bytes]:
    """Return the variables of numeric libraries that the user has not set."""
    # What an outer pool has set for this worker, a pool inside it divides further.
    return [
        name
        for name in LIBRARIES
        if name not in os.environb or os.environb[name] == _cores.told(name)
    ]


def _told() -> list[bytes]:
    """Return the variables of numeric libraries that are what a pool has set them to."""
    told = ((name, _cores.told(name)) for name in LIBRARIES)
    return [name for name, value in told if value is not None and os.environb.get(name) == value]


def settings(
    workers: int | None,
    preload: list[str],
    max_memory: int | None = None,
    *,
    concurrency: int = 1,
    as_pool: bool = False,
    tracked: bool = False,
) -> Settings:
    """Return what the template is told.

    Args:
        workers: how many share the cores; None: no worker is meant, but a process like this one.
        preload: the modules that it imports.
        max_memory: how many bytes of private memory a worker may have.
        concurrency: how many tasks a worker runs at once.
        as_pool: whether tasks fail as those of `multiprocessing.Pool` do.
        tracked: whether the resource tracker's descriptor is handed on.

    """
    main = sys.modules.get("__main__")
    main_file = getattr(main, "__file__", None)
    main_package = getattr(main, "__package__", None)
    multiprocessing = sys.modules.get("multiprocessing.process")
    current = None if multiprocessing is None else multiprocessing.current_process()
    return {
        "argv": [str(argument) for argument in getattr(sys, "argv", ())],
        "main_file": main_file if isinstance(main_file, str) else None,
        "main_package": main_package if isinstance(main_package, str) else None,
        "process_name": "MainProcess" if current is None else current.name,
        "tracked": tracked,
        "authkey": b"" if current is None else bytes(current.authkey),
        "preload": preload,
        "max_memory": max_memory,
        "concurrency": concurrency,
        "as_pool": as_pool,
        "umask": _umask(),
        "recursion_limit": sys.getrecursionlimit(),
        "max_str_digits": sys.get_int_max_str_digits(),
        "write_bytecode": not sys.dont_write_bytecode,
        "faulthandler": faulthandler.is_enabled(),
        "filters": list(_filters()),
        "logging": _logging(),
        "cores": _cores.given() if workers is None else _cores.share(workers),
        "libraries": _told() if workers is None else _unset(),
    }


def _umask() -> int | None:
    # Asking the kernel for it means setting it, which other threads would see.
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass  # no /proc
    return None  # the template starts with it all the same; only a second one may not


def _filters() -> Iterable[Filter]:
    for action, message, category, module, line in warnings.filters:
        for each in category if isinstance(category, tuple) else (category,):
            name = (each.__module__, each.__qualname__)
            yield str(action), _pattern(message), name, _pattern(module), line


def _pattern(pattern: re.Pattern[str] | str | None) -> Pattern | None:
    # The filters that the interpreter makes itself compare with plain text.
    if pattern is None or isinstance(pattern, str):
        return None if pattern is None else (pattern, None)
    return pattern.pattern, pattern.flags


def _logging() -> Logging:
    manager = logging.root.manager
    # Not whether they propagate: in a worker all records go to the root, from where they are sent
    # to the logger of the same name here.
    loggers = {
        # A copy: other threads make loggers.
        name: (logger.level, logger.disabled)
        for name, logger in manager.loggerDict.copy().items()
        if isinstance(logger, logging.Logger)
        and (logger.level, logger.disabled) != (logging.NOTSET, False)
    }
    return {
        "root": logging.root.level,
        "loggers": loggers,
        "disable": manager.disable,
        "names": logging.getLevelNamesMapping(),
        "warnings": warnings.showwarning is logging._showwarning,  # type: ignore[attr-defined]
    }
