"""How the pool stops what a worker runs.

At a task's deadline, or when its future is cancelled, the pool writes into the
worker's shared memory which run is to stop, and sends SIGTERM with a mark that
tells it from anybody else's. The native handler of the signal ends the process
for those others, as the default would; for ours it has Python call
`Worker.on_terminate`, which raises `Stopped` in the task: once, only while code
of that task runs, and never in the next. Who does not stop then is killed.

What other tasks of the worker rely on is not left half done: while it loads
what it was told of the program, or a module is being imported, nothing is
raised. The signal comes again.
"""

import signal
from typing import NoReturn

from plait._binding import native

__all__ = ["Stopped", "heed", "next_item", "spin"]

_channel: native.Worker | None = None


class Stopped(BaseException):
    """Raised in a task that has reached its deadline or was cancelled."""

    def __init__(self) -> None:
        """Say what happens to the task."""
        super().__init__("the pool stops this task: its timeout is over, or it was cancelled")


def spin() -> NoReturn:
    """Run until an exception is raised in this thread."""
    while True:
        pass


def heed(channel: native.Worker) -> None:
    """Have tasks of this worker stopped."""
    global _channel
    _channel = channel
    # Python has to know a handler, for the native one to have it called.
    signal.signal(signal.SIGTERM, channel.on_terminate)
    channel.heed_stops()


def next_item() -> bool:
    """Tell that an item of the task that runs has ended, and the next begins.

    The timeout of a task with several items is that of each. To be called
    after each item, the last one included; what `Stopped` interrupts is the
    item, and whoever calls the items catches it and goes on.

    Returns:
        Whether the item that has ended was stopped at its deadline. Then what
        it returned or raised does not count.

    Raises:
        Stopped: the whole task is to stop.

    """
    assert _channel is not None, "only a worker has items"
    return _channel.next_item()
