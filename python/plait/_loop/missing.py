"""What asyncio's loop can do and plait's cannot yet, each with a sentence that says so."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["MissingMixin"]


def _missing(what: str) -> NoReturn:
    raise NotImplementedError(f"plait's loop has no {what} yet; asyncio.SelectorEventLoop has them")


class MissingMixin:
    """The calls that raise `NotImplementedError`."""

    async def connect_read_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to read from a pipe."""
        _missing("pipe transports")

    async def connect_write_pipe(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to write to a pipe."""
        _missing("pipe transports")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to start a program."""
        _missing("subprocesses")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to start a shell."""
        _missing("subprocesses")
