"""What a process is told when it starts."""

import marshal
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import util
from types import FunctionType
from typing import TYPE_CHECKING, Any

from plait import _setting
from plait._binding import native
from plait._pickling.outbound import Outbound
from plait._pickling.pickler import dumps
from plait._pickling.placing import Key, place
from plait._worker.starting import Start

if TYPE_CHECKING:
    from plait._process.process import Process

__all__ = ["encode"]

# More than this a global may not weigh that only perhaps is of use, in bytes.
_LIGHT = 1 << 20


def encode(process: "Process", streams: list[int]) -> bytes:
    """Pickle a process and what it is to see, in the middle of a `handing`.

    Args:
        process: the process.
        streams: which of its standard output and error are handed along.

    Raises:
        Exception: what the pickler raises, with a note that says what cannot be pickled.

    """
    outbound = Outbound()
    try:
        call = outbound.encode(process._bootstrap, (), {})  # type: ignore[attr-defined]
    except Exception as error:
        error.add_note(_blame(process))
        raise
    images = {image.id: image.data for image in _of_main()}
    images |= {image.id: image.data for image in call.images}
    start: Start = {
        "settings": _setting.settings(None, []),
        "environment": list(os.environb.items()),
        "path": [entry for entry in sys.path if isinstance(entry, str)],
        "ignored": list(_ignored()),
        "group": os.getpgid(0) if process._plait_limits.timeout is None else 0,
        "streams": streams,
        "start_method": multiprocessing.get_start_method(allow_none=True),
        "log_to_stderr": bool(util._log_to_stderr),  # type: ignore[attr-defined]
        "log_level": None if util._logger is None else util._logger.getEffectiveLevel(),  # type: ignore[attr-defined]
        "images": list(images.items()),
        "target": call.target,
        "data": call.packer.getvalue(),
    }
    return marshal.dumps(dict(start))


def _ignored() -> Iterator[int]:
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            yield int(number)


def _of_main() -> Iterator[Any]:
    """Make images of the functions and classes of `__main__`.

    The process may meet them by their names alone: in what comes out of a queue. Such as cannot be
    sent, or would weigh too much with what they use, are left out.
    """
    outbound = Outbound(limit=_LIGHT)
    main = sys.modules.get("__main__")
    for name, value in list(vars(main).items()) if main is not None else ():
        if isinstance(value, FunctionType | type) and place(value) == Key("__main__", name):
            try:
                yield from outbound.tell(Key("__main__", name))
            except Exception:
                continue


def _blame(process: "Process") -> str:
    """Say which part of a process cannot be pickled, by trying them one by one."""
    state = dict(vars(process))
    parts: list[tuple[str, Any]] = [("the target", state.pop("_target", None))]
    parts += [(f"argument {n}", arg) for n, arg in enumerate(state.pop("_args", ()), 1)]
    parts += [(f"argument {name!r}", arg) for name, arg in state.pop("_kwargs", {}).items()]
    parts += [(f"the attribute {name!r}", value) for name, value in state.items()]
    parts += [("the class", type(process))]
    for name, part in parts:
        try:
            dumps(part, native.Packer())
        except Exception:
            kind = type(part).__qualname__
            return f"while pickling {name} of the process {process.name}, an object of type {kind}"
    return f"while pickling the process {process.name}"
