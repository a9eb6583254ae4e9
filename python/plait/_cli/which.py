"""`plait which`: where a function runs best."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from plait._cli.target import arguments, function
from plait._cli.terminal import Mistake, console
from plait._cli.which_script import FunctionOrScript
from plait._measure import measure
from plait._measure.machine import overheads

__all__ = ["which"]

# So much of the arguments is printed.
_LINE = 200


@click.command(cls=FunctionOrScript)
@click.argument("target", metavar="MODULE:FUNCTION | SCRIPT.py [ARGS]...")
@click.option(
    "--args",
    "args_json",
    default="[]",
    metavar="JSON",
    help="The arguments of the call, as a JSON list.  [default: []]",
)
@click.option(
    "--batch",
    type=int,
    metavar="N",
    help="How many calls to compare by.  [default: as many as the budget pays for]",
)
@click.option(
    "--budget",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="About how long to call the function.",
)
@click.option("--verify", is_flag=True, help="Also run the batch under each method.")
@click.option("--fresh", is_flag=True, help="Measure anew what each method costs on this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def which(
    target: str,
    args_json: str,
    batch: int | None,
    budget: float,
    verify: bool,
    fresh: bool,
    as_json: bool,
) -> None:
    """Find out where a function runs best, or the functions of a script.

    The function IS CALLED SEVERAL TIMES: it must be safe to repeat. With
    --verify it is also called several times at once, and in other processes.
    Modules in the current directory can be named.

    A script is run once, unchanged, and answered for when it ends: for those
    of its functions whose calls take its time. What follows it is its own.

    \b
    plait which zlib:crc32 --args '["data"]'
    plait which mymodule:Class.method --args '[30000, "text"]' --batch 50
    plait which script.py input.csv
    """  # noqa: D301
    args = arguments(args_json)
    fn = function(target)
    if batch is not None and not 1 <= batch <= 1_000_000:
        raise Mistake(f"--batch must be from 1 to 1000000 calls, not {batch}")
    if not 0 < budget < float("inf"):
        raise Mistake(f"--budget must be a positive number of seconds, not {budget}")
    if fresh:
        overheads(fresh=True)
    # Of their own: the function may change the others.
    told = arguments(args_json)
    try:
        with _stdout_kept(to_stderr=as_json):
            measurement = measure(fn, *args, batch=batch, budget=budget, verify=verify)
    except Exception:
        # The function's own: its traceback is what its author wants to see.
        traceback.print_exc()
        sys.exit(1)
    except SystemExit as error:
        click.echo(f"plait which: {target} ended the program, by SystemExit: {error}", err=True)
        raise
    if as_json:
        found = {"function": target, "args": told, **measurement.as_dict()}
        click.echo(json.dumps(found, indent=2))
        return
    out = console()
    out.print(f"\n{target}({_shortened(told)})", style="bold", markup=False)
    out.print(measurement)


def _shortened(args: list[Any]) -> str:
    """Write the arguments of a call as Python does, as far as they go on two lines."""
    text = ", ".join(map(repr, args))
    return text if len(text) <= _LINE else f"{text[: _LINE - 3]}..."


@contextmanager
def _stdout_kept(*, to_stderr: bool) -> Iterator[None]:
    """Have standard output as it was, whatever the function closes or puts in its place.

    Args:
        to_stderr: keep what it prints, here and in workers, out of the JSON.

    """
    stream = sys.stdout
    if stream is None:  # It was closed before this program began.
        yield
        return
    stream.flush()
    kept = os.dup(1)
    if to_stderr:
        os.dup2(2, 1)
    try:
        yield
    finally:
        for each in (sys.stdout, stream):
            if getattr(each, "closed", None) is False:
                each.flush()
        os.dup2(kept, 1)
        os.close(kept)
        if stream.closed:
            stream = open(  # noqa: SIM115 - it stays open
                1, "w", encoding=stream.encoding, errors=stream.errors, closefd=False
            )
        sys.stdout = stream
