"""Log records of a worker, sent to the process that made the pool.

The way is a pipe that all workers share, by packets that are not torn: the Rust side, which puts
them together again, is `crates/plait-pool/src/process/voices.rs`.
"""

import itertools
import logging
import marshal
import os
import pickle
import struct
from typing import Any

from plait._binding import native

__all__ = ["Sender", "install"]

_MAGIC = b"\xa7pl\x00"
# Those, bytes that follow, whether there is more, the process, the number of the record in it.
_HEAD = struct.Struct("=4sHHII")
_ROOM = 4096 - _HEAD.size

# What `marshal` carries as it is. Exact classes: of others it would lose what they add.
_PLAIN = frozenset({bool, bytes, float, int, str, type(None)})


class Sender(logging.Handler):
    """Sends the records that reach it, as long as nobody else handles them.

    A program that sets up handlers of its own in workers, a `QueueHandler` say, has them called
    instead: it would see each record twice otherwise.
    """

    def __init__(self, pipe: int) -> None:
        """Take the descriptor of the pipe."""
        super().__init__()
        self._pipe = pipe
        self._numbers = itertools.count(1)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; waits while the pipe is full."""
        if len(logging.root.handlers) > 1:
            return
        try:
            self._send(_pack(record))
        except Exception:
            self.handleError(record)

    def _send(self, data: bytes) -> None:
        writer, number = os.getpid(), next(self._numbers) & 0xFFFFFFFF
        view = memoryview(data)
        for start in range(0, len(view), _ROOM):
            piece = view[start : start + _ROOM]
            more = start + _ROOM < len(view)
            packet = _HEAD.pack(_MAGIC, len(piece), more, writer, number) + piece
            # A pipe takes so much as a whole, or makes us wait.
            os.write(self._pipe, packet)
        native.worker_said(number)


def install(pipe: int) -> None:
    """Have all that reaches the root logger sent."""
    logging.root.addHandler(Sender(pipe))


def _pack(record: logging.LogRecord) -> bytes:
    """Make bytes of a record, as `logging.handlers.QueueHandler` prepares one.

    The message is formatted here, with its arguments, and so is the traceback; what else the
    record has been given travels pickled.
    """
    state: dict[str, Any] = dict(record.__dict__)
    state["msg"], state["args"] = record.getMessage(), None
    if record.exc_info and not record.exc_text:
        state["exc_text"] = logging.Formatter().formatException(record.exc_info)
    state["exc_info"] = None
    others = {name: value for name, value in state.items() if type(value) not in _PLAIN}
    for name in others:
        del state[name]
    return marshal.dumps((state, {name: _pickle(value) for name, value in others.items()}))


def _pickle(value: object) -> tuple[bytes | None, str]:
    """Pickle a value if it can be, and describe it."""
    try:
        pickled = pickle.dumps(value, 5)
    except Exception:
        pickled = None
    try:
        return pickled, repr(value)
    except Exception:
        return pickled, object.__repr__(value)
