"""The order of what is measured in turn."""

from collections.abc import Sequence


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Let another one begin each round, so that no one always follows the same."""
    first = turn % len(names) if names else 0
    return [*names[first:], *names[:first]]
