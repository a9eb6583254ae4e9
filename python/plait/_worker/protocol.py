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

# From the template.
SERVING = 16
FORKED = 17
NOT_FORKED = 18
GONE = 19

# How a worker went.
EXITED = 0
KILLED = 1


class Settings(TypedDict):
    """What the template knows of the user's process, as of the pool's making."""

    argv: list[str]
    # Of the user's `__main__`: what code that is sent by value may ask for.
    main_file: str | None
    main_package: str | None
    process_name: str
    # For connections to managers of the user's process.
    authkey: bytes
