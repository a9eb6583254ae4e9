"""What a process of `plait.Process` and its parent say to each other, over a socket of their own.

The other end is held by the process and by the template that has forked it, which adds how the
process ended. Messages are a kind and three numbers, as on the control socket.
"""

from typing import TypedDict

from plait._worker.protocol import Settings

__all__ = ["BEGUN", "ENDED", "LEAVING", "MAX_FDS", "START", "Start"]

# To the process: be this; numbers: how many descriptors come along, in this and the next
# messages. The first is the `Start`, the second the working directory; then those of
# `Start["streams"]`, the resource tracker's, and what the arguments are made of.
START = 32

# From the process: what is to be run begins; numbers: when, in nanoseconds of the monotonic clock.
BEGUN = 48
# From the process: it leaves by itself; numbers: its exit code, whether its time was up.
LEAVING = 49
# From the template: it has ended; numbers: how, the exit code or signal, when it was noticed.
ENDED = 50

# The kernel's limit is 253 for one message.
MAX_FDS = 250


class Start(TypedDict):
    """What a process is told."""

    settings: Settings
    environment: list[tuple[bytes, bytes]]
    path: list[str]
    # The signals that the parent ignores.
    ignored: list[int]
    # The process group to join; 0: one of its own.
    group: int
    # Which of the numbers 1 and 2 are open in the parent.
    streams: list[int]
    # How `multiprocessing` starts processes there, if that was settled, and how it logs.
    start_method: str | None
    log_to_stderr: bool
    log_level: int | None
    # The call, as `Outbound` made it, and the images that it needs.
    images: list[tuple[int, bytes]]
    target: int
    data: bytes
