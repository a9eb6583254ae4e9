"""Log records of workers, handed to the loggers of this process."""

import logging
import marshal
import pickle
from typing import Any

__all__ = ["handle"]


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


def _unpickle(pickled: bytes | None, text: str) -> object:
    if pickled is None:
        return text
    try:
        return pickle.loads(pickled)
    except Exception:
        return text  # its class is not here: what it looks like has to do
