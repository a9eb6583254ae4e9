"""What one of several coroutines that run at once writes, kept for its future.

The file descriptors belong to all of them, so what they write by `sys.stdout` and `sys.stderr` is
told apart: these are replaced by streams that look whose context they are used in. The tasks that a
coroutine makes, and the threads of `asyncio.to_thread`, have a copy of its context.
"""

import contextvars
import marshal
import sys
from collections.abc import Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any

from plait._worker.capture import MOST

__all__ = ["Recorded"]


class Recorded(Coroutine[Any, Any, Any]):
    """A coroutine, and what it writes.

    Args:
        coroutine: what is run.
        texts: what has been written to standard output and standard error before.

    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], texts: list[bytes]) -> None:
        self._coroutine = coroutine
        self._texts = [bytearray(text) for text in texts]
        self._over = False
        _install()

    def __await__(self) -> Generator[Any, Any, Any]:
        # The context is that of this coroutine alone.
        _record.set(self)
        return (yield from self._coroutine.__await__())

    def send(self, value: Any) -> Any:
        """Go on with the coroutine."""
        return self._coroutine.send(value)

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Raise in the coroutine."""
        error: Any = typ if val is None else val
        return self._coroutine.throw(error)

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def keep(self, place: int, text: str) -> bool:
        """Keep what is written to one of the two streams; false if the coroutine has ended."""
        if self._over:
            return False
        kept = self._texts[place]
        kept += text.encode(errors="backslashreplace")
        if len(kept) > 2 * MOST:
            del kept[:-MOST]
        return True

    def take(self) -> bytes:
        """Return what has been written, packed; the coroutine has ended."""
        self._over = True
        return marshal.dumps([bytes(kept[-MOST:]) for kept in self._texts])


_record: contextvars.ContextVar[Recorded | None] = contextvars.ContextVar("record", default=None)


class _Stream:
    """A text stream that keeps what recorded coroutines write, and passes on the rest."""

    def __init__(self, original: Any, place: int) -> None:
        self._original = original
        self._place = place

    def write(self, text: str) -> int:
        record = _record.get()
        if record is not None and record.keep(self._place, text):
            return len(text)
        written: int = self._original.write(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _install() -> None:
    for place, name in enumerate(("stdout", "stderr")):
        stream = getattr(sys, name)
        # None: there is no such stream, and nothing that is written to it.
        if stream is not None and not isinstance(stream, _Stream):
            setattr(sys, name, _Stream(stream, place))
