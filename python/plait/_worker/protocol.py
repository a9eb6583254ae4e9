"""What the pool and its template say to each other: a kind and three numbers.

The Rust side is `crates/plait-pool/src/process/wire.rs`.
"""

import struct
from typing import TypedDict

MESSAGE = struct.Struct("=qqqq")

# To the template.
SERVE = 1
FORK = 2
GO = 3
HAND = 4

# From the template.
SERVING = 16
FORKED = 17
NOT_FORKED = 18
GONE = 19
UNUSABLE = 20

# How a worker went.
EXITED = 0
KILLED = 1

# How a task ended; `crates/plait-py/src/process_worker.rs` has the same
# numbers, and one more, for a task that was stopped.
RETURNED = 0
RAISED = 1
RAISED_TO_RETRY = 2
# It has not: it has come to a coroutine, which runs beside others.
GOES_ON = 3


# What the numeric libraries look at to know how many threads to start.
LIBRARIES = (
    b"OMP_NUM_THREADS",
    b"OPENBLAS_NUM_THREADS",
    b"MKL_NUM_THREADS",
    b"BLIS_NUM_THREADS",
    b"VECLIB_MAXIMUM_THREADS",
    b"NUMBA_NUM_THREADS",
    b"NUMEXPR_NUM_THREADS",
    b"RAYON_NUM_THREADS",
    b"POLARS_MAX_THREADS",
)

# A regular expression and its flags; no flags: a text to compare with.
Pattern = tuple[str, int | None]
# An entry of `warnings.filters`, the category by the name of its module and its own.
Filter = tuple[str, Pattern | None, tuple[str, str], Pattern | None, int]


class Logging(TypedDict):
    """How much the user's process logs."""

    root: int
    # The level, and whether it is disabled, of loggers that were set up.
    loggers: dict[str, tuple[int, bool]]
    disable: int
    # Levels by their names.
    names: dict[str, int]
    # Whether warnings are logged.
    warnings: bool


class Settings(TypedDict):
    """What the template knows of the user's process, as of the pool's making."""

    argv: list[str]
    # Of the user's `__main__`: what code that is sent by value may ask for.
    main_file: str | None
    main_package: str | None
    process_name: str
    # For connections to managers of the user's process.
    authkey: bytes
    # Whether the first descriptor that is handed on is the resource tracker's.
    tracked: bool
    # Modules to be imported before the first worker is forked.
    preload: list[str]
    umask: int | None
    recursion_limit: int
    max_str_digits: int
    write_bytecode: bool
    faulthandler: bool
    filters: list[Filter]
    logging: Logging
    # Whether tasks fail as those of `multiprocessing.Pool` do where it is different.
    as_pool: bool
    # How many tasks a worker runs at once.
    concurrency: int
    # How many bytes of private memory a worker may have after a task.
    max_memory: int | None
    # A worker's share of them; None for what is no worker.
    cores: int | None
    # The variables of numeric libraries that say so.
    libraries: list[bytes]
