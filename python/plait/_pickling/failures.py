"""Exceptions that cross between processes.

An exception arrives with its class, its arguments and attributes, its cause and
context, and the worker's traceback as a note. One that does not survive pickling
(tried in the worker) arrives as a `plait.RemoteError` that tells all of it.
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from plait._errors import RemoteError
from plait._pickling.pickler import dumps

__all__ = ["decode_result", "encode_failure"]


def _stand_in(error: BaseException) -> tuple[str, str]:
    kind = type(error)
    try:
        text = str(error)
    except Exception as failed:
        text = f"<its __str__ raised {type(failed).__qualname__}>"
    return f"{kind.__module__}.{kind.__qualname__}", text


def _survives(error: BaseException) -> bytes | None:
    """Return the pickled exception if it can be read again as what it is."""
    try:
        data = dumps(error)
        return data if type(pickle.loads(data)) is type(error) else None
    except Exception:
        # Whatever its own pickling raises: the stand-in takes its place, and
        # the traceback in its note shows the original.
        return None


def _remote_traceback(error: BaseException) -> str:
    first = error.__traceback__
    # The first frame is the worker's own, not the user's.
    error.__traceback__ = first.tb_next if first is not None else None
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return "".join(traceback.format_tb(error.__traceback__)) + ": ".join(_stand_in(error))
    finally:
        error.__traceback__ = first


def encode_failure(error: BaseException, pid: int) -> bytes:
    """Pickle an exception with all that it is chained to. Never fails."""
    note = f"In worker process {pid}:\n{_remote_traceback(error).rstrip()}"
    chain: list[BaseException] = [error]
    records: list[tuple[bytes | None, tuple[str, str], int | None, int | None, bool]] = []

    def index(linked: BaseException | None) -> int | None:
        if linked is None:
            return None
        for position, known in enumerate(chain):
            if known is linked:
                return position
        chain.append(linked)
        return len(chain) - 1

    for link in chain:  # grows as it goes: `index` appends to it
        records.append(  # noqa: PERF401
            (
                _survives(link),
                _stand_in(link),
                index(link.__cause__),
                index(link.__context__),
                link.__suppress_context__,
            )
        )
    return pickle.dumps((note, records), protocol=5)


def _revive(data: bytes | None, stand_in: tuple[str, str], note: str) -> BaseException:
    if data is not None:
        try:
            revived = pickle.loads(data)
            if isinstance(revived, BaseException):
                return revived
        except Exception as error:
            # Its class cannot be imported here, say: tell both.
            failed = RemoteError(*stand_in, note)
            failed.add_note(f"plait: the original exception could not be read here: {error!r}")
            return failed
    return RemoteError(*stand_in, note)


def decode_failure(data: bytes) -> BaseException:
    """Make the exception again that `encode_failure` was given."""
    note, records = pickle.loads(data)
    errors = [_revive(pickled, stand_in, note) for pickled, stand_in, *_ in records]
    for error, (_, _, cause, context, suppress) in zip(errors, records, strict=True):
        error.__cause__ = None if cause is None else errors[cause]
        error.__context__ = None if context is None else errors[context]
        error.__suppress_context__ = suppress
    errors[0].add_note(note)
    return errors[0]


def decode_result(ok: bool, data: bytes) -> Any:
    """Return what a task returned.

    Raises:
        BaseException: What the task raised, or what reading its result raises.

    """
    if ok:
        return pickle.loads(data)
    raise decode_failure(data)
