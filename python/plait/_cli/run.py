"""`plait run`: an unchanged program on plait's loop, its lost exceptions reported."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import click

from plait._cli.terminal import Mistake
from plait._run import environment

__all__ = ["interpreter_flags", "run"]


class _Run(click.Command):
    """Takes `-mMODULE` in one word, too, as python does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line."""
        for place, word in enumerate(args):
            if not word.startswith("-") or word in ("-", "--", "-m"):
                break
            if word.startswith("-m"):
                args = [*args[:place], "-m", word[2:], *args[place + 1 :]]
                break
        return super().parse_args(ctx, args)


def interpreter_flags() -> list[str]:
    """Return the options that this interpreter was given: warnings, -X, -O, ..."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # Those are not among them.
    if sys.flags.inspect:
        flags.append("-i")
    if getattr(sys.stdout, "write_through", False):
        flags.append("-u")
    return flags


def _found(script: str) -> str:
    """Find what to run: a file, or the command of that name in this environment."""
    if os.path.exists(script) or os.path.basename(script) != script:
        return script
    command = os.path.join(sysconfig.get_path("scripts"), script)
    try:
        with open(command, "rb") as file:
            head = file.read(512)
    except OSError:
        # Python will say that there is no such file.
        return script
    return command if head.startswith(b"#!") and b"python" in head else script


@click.command(
    cls=_Run,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--pools", is_flag=True, help="Put plait's pools in the standard ones' places.")
@click.option("--strict", is_flag=True, help="Do not end with status 0 if any exception was lost.")
@click.option(
    "-m", "module", is_flag=True, help="SCRIPT is the name of a module, as with python -m."
)
@click.argument("script")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def run(pools: bool, strict: bool, module: bool, script: str, arguments: tuple[str, ...]) -> None:
    """Run a program as python does, on plait's loop.

    The program is not changed. asyncio makes plait's loops, and every
    exception that nobody asks for is reported.

    \b
    plait run server.py --port 8000
    plait run --strict -m pytest tests
    """  # noqa: D301
    if sys.flags.ignore_environment or sys.flags.no_site:
        raise Mistake("python's options -E, -I and -S keep plait from getting into the program")
    if script.startswith("-") and script != "-":
        raise Mistake(f"there is no option {script!r}: options come before the script")
    options = [name for name, given in (("pools", pools), ("strict", strict)) if given]
    target = ["-m", script] if module else [_found(script)]
    sys.stdout.flush()
    sys.stderr.flush()
    # In this very process: signals, terminal and exit status are the program's own.
    words = [sys.executable, *interpreter_flags(), *target, *arguments]
    os.execve(sys.executable, words, environment(options))
