"""`plait tour`."""

import click


@click.command()
def tour() -> None:
    """x."""
