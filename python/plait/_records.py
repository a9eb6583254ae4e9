"""Log records of workers, handed to the loggers of this process."""

import logging
import marshal
import pickle
from typing import Any

__all__ = ["handle", "tell_of_noise"]


def handle(data: bytes) -> None:
    """Have the logger of the same name handle what `plait._worker.records` has sent.

    The levels of this process, as they are now, have the last word.
    """
    state: dict[str, Any]
    others: dict[str, tuple[bytes | None, str]]
    state, others = marshal.loads(data)
    for name, (pickled, text) in others.items():
        state[name] = _unpickle(pickled, text)
    record = logging.makeLogRecord(state)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def tell_of_noise(count: int) -> None:
    """Report what somebody wrote to where the records of workers come from."""
    logging.getLogger("plait").error(
        "%d bytes in the pipe for log records of worker processes are none: something in a worker "
        "writes to a descriptor that is not its own, and may have taken records with it",
        count,
    )


def _unpickle(pickled: bytes | None, text: str) -> object:
    if pickled is None:
        return text
    try:
        return pickle.loads(pickled)
    except Exception:
        return text  # its class is not here: what it looks like has to do
