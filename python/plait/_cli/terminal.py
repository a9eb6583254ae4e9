"""Where the command line writes, and how it says what is wrong."""

from __future__ import annotations

import os
from typing import IO, Any

import click
from rich.console import Console

__all__ = ["Mistake", "console"]

#: Columns to write where there is no terminal to ask: a log or a file.
_WIDTH = 100


class Mistake(click.ClickException):
    """Something in the command line that cannot be: one line on stderr, exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Asked for here: the context has ended by the time of `show`.
        context = click.get_current_context(silent=True)
        self._command = context.command_path if context else "plait"

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line."""
        click.echo(f"{self._command}: {self.format_message()}", file=file, err=True)


def console() -> Console:
    """Make the console on standard output: no colour and a fixed width if it is no terminal."""
    made = Console(highlight=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = _WIDTH
    return made
