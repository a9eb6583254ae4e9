"""The command line, one file for each command."""

from __future__ import annotations

import click

from plait import __version__
from plait._cli.run import run
from plait._cli.tour import tour
from plait._cli.which import which

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="plait")
def cli() -> None:
    """Every asynchronous method of Python, each at its best."""


cli.add_command(which)
cli.add_command(tour)
cli.add_command(run)
