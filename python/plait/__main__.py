"""The command line: `plait`, or `python -m plait`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    from plait._cli import cli

    cli(prog_name="plait")


if __name__ == "__main__":
    main()
