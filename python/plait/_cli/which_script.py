"""`plait which script.py`: a program under measurement, and the answers for its functions."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from click.core import ParameterSource

from plait._cli.run import interpreter_flags
from plait._cli.terminal import Mistake
from plait._measure.machine import overheads
from plait._run import environment

__all__ = ["FunctionOrScript"]

#: The options that make sense for a script too.
_COMMON = ("as_json", "fresh", "target")


class FunctionOrScript(click.Command):
    """A command about a function, which runs a script if that is what it is given.

    What comes after the script is the script's, options included.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, as far as it is ours."""
        place = self._target(args)
        if place is None or not _is_script(args[place]):
            return super().parse_args(ctx, args)
        ctx.meta[__name__] = (args[place], args[place + 1 :])
        return super().parse_args(ctx, args[: place + 1])

    def _target(self, args: list[str]) -> int | None:
        """Return the place of the first word that is no option, nor an option's value."""
        takes = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        value = False
        for place, word in enumerate(args):
            if value:
                value = False
            elif word in takes:
                value = True
            elif not word.startswith("-"):
                return place
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the script, or what the command does for a function."""
        if __name__ not in ctx.meta:
            return super().invoke(ctx)
        for option in self.params:
            name = option.name or ""
            if (
                name not in _COMMON
                and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
            ):
                raise Mistake(
                    f"{option.opts[-1]} is for MODULE:FUNCTION; a script is run once, as it is"
                )
        script, words = ctx.meta[__name__]
        _run(script, words, as_json=ctx.params["as_json"], fresh=ctx.params.get("fresh", False))
        return None


def _is_script(word: str) -> bool:
    return word.endswith(".py") or (":" not in word and os.path.isfile(word))


def _run(script: str, words: list[str], *, as_json: bool, fresh: bool) -> None:
    if sys.flags.ignore_environment or sys.flags.no_site:
        raise Mistake("python's options -E, -I and -S keep plait from getting into the program")
    if not os.path.exists(script):
        raise Mistake(f"there is no file {script!r}")
    # Kept in a file: at the program's exit nothing can be measured any more.
    overheads(fresh=fresh)
    options = ["which", *(["json"] if as_json else [])]
    sys.stdout.flush()
    sys.stderr.flush()
    # In this very process: signals, terminal and exit status are the program's own.
    command = [sys.executable, *interpreter_flags(), script, *words]
    os.execve(sys.executable, command, environment(options))
