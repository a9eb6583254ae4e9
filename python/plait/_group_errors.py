"""How the errors of a task group leave it."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, NamedTuple

from plait import _lost
from plait._errors import TaskTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Failure", "Passed", "late", "leaving", "lose"]


class Failure(NamedTuple):
    """What a child has raised."""

    error: BaseException
    #: What the child is called.
    name: str = ""
    #: File and line where it was submitted.
    site: tuple[str, int] | None = None


class Passed(Exception):
    """Stands for the deadline of a group until the group is left."""


def late(timeout: float, elapsed: float, names: list[str]) -> TaskTimeout:
    """Make the exception of a group whose deadline passed.

    Args:
        timeout: the group's.
        elapsed: how many seconds it took in the end.
        names: of those that it stopped.

    """
    text = f"the task group's timeout of {timeout:g} s passed"
    if names:
        text += f", and what ran was stopped: {', '.join(names)}"
    return TaskTimeout(text, elapsed=elapsed)


def leaving(
    errors: list[BaseException],
    failed: list[Failure],
    timeout: TaskTimeout,
    stubborn: list[str],
) -> BaseException:
    """Make what leaves the group.

    Args:
        errors: all, each perhaps several times, and `Passed` if its deadline passed.
        failed: the same, with what they come from.
        timeout: what leaves for the deadline.
        stubborn: the names of those that went on beyond their grace.

    """
    names: dict[int, list[str]] = {}
    for error, name, _ in failed:
        names.setdefault(id(error), []).append(name)
    found: dict[int, BaseException] = {}
    for error in errors + [failure.error for failure in failed]:
        if isinstance(error, Passed):
            found[0] = timeout
        elif id(error) not in found:
            found[id(error)] = error
            for name in names.get(id(error), []):
                error.add_note(f"\nIn {name}, in a task group.")
    if stubborn:
        timeout.add_note(f"\nBeyond their grace went on: {', '.join(stubborn)}.")
    # The block has waited for what the group has stopped: no failure of its own.
    others = [error for error in found.values() if not _is_echo(error)]
    if others == [timeout]:
        return timeout
    return BaseExceptionGroup("unhandled errors in a TaskGroup", others or list(found.values()))


def _is_echo(error: BaseException) -> bool:
    return isinstance(error, concurrent.futures.CancelledError)


def lose(failed: Iterable[Failure], raised: BaseException | None) -> None:
    """Report the failures of children of which nobody hears: something else leaves the group.

    Args:
        failed: all.
        raised: what leaves; Ctrl-C, say.

    """
    for error, name, site in failed:
        if error is not raised and not isinstance(error, Passed):
            _lost.report(error, name, *(site or (None, None)))
