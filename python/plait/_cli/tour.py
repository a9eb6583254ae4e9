"""`plait tour`: the known programs of the field, under every method."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from plait._cli.terminal import Mistake, console

__all__ = ["tour"]


@click.command()
@click.option("--full", is_flag=True, help="In full: 1,000 lists, messages of 2 s and 3 s.")
@click.option("--quick", is_flag=True, help="As small as it can be, as for a test.")
@click.option(
    "--scale",
    type=float,
    metavar="FACTOR",
    help="Factor on the times of the delayed messages.  [default: 0.1; 1 with --full]",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("tour.svg"),
    show_default=True,
    help="Where to write the picture of what ran where and when.",
)
def tour(full: bool, quick: bool, scale: float | None, picture: Path) -> None:
    """Run the known programs of the field under every method.

    Fetches pages, delays messages, sorts lists and races for a value, each
    one after another, in threads, in processes, by callbacks and in
    coroutines, wherever that can be done; says which to use and why; and
    draws what ran where and when. Every number is measured in this run.
    """
    if full and quick:
        raise Mistake("--full and --quick exclude each other")
    if scale is not None and not 0 < scale <= 100:
        raise Mistake(f"--scale must be a positive factor, at most 100, not {scale}")
    if not picture.absolute().parent.is_dir():
        raise Mistake(f"there is no directory {str(picture.parent)!r} to write the picture in")
    # Imported here: `plait which` needs nothing of it.
    from plait._tour import Options, run

    size = "full" if full else "quick" if quick else "normal"
    out = console()

    def interrupted(number: int, frame: FrameType | None) -> None:
        # At once, whatever sleeps or computes: the server's lifeline and the
        # workers' end with this process. The shell sees that it was SIGINT.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        right = run(Options.of(size, picture, scale), out)
    except OSError as error:
        raise click.ClickException(f"the tour could not go on: {error}") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if not right:
        sys.exit(1)
