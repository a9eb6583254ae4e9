"""What comes of the code that was read: effects on all calls, and on those with some arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NamedTuple

from plait._auto.classes import parts_of
from plait._auto.effects import Effect
from plait._auto.fixed import is_fixed
from plait._auto.summary import Notes, Site, Summary, Write
from plait._auto.values import CLASS, Known, Param, name_of
from plait._auto.writers import writer_of, writer_of_class

__all__ = ["ByMethod", "Conclusion", "Question", "Returned", "conclude", "is_open"]


class ByMethod(NamedTuple):
    """An effect that depends on what a method of an argument is."""

    argument: str
    method: str
    # Whether it is done to what the method returns; else, by the method, if it is one of C.
    is_result: bool
    effect: Effect


class Returned(NamedTuple):
    """That an argument is returned, or what is in it."""

    argument: str
    is_whole: bool
    effect: Effect


class Question(NamedTuple):
    """Something that the code calls, or looks up, of an argument: see `Asked`."""

    argument: str
    # Whether it is asked of something in the argument.
    is_of_part: bool
    name: str
    how: str


@dataclass(slots=True)
class Conclusion:
    """What a function was found to do.

    Attributes:
        always: What counts for all arguments, the weightiest first.
        on_arguments: What counts where the argument can be changed, by its name.
        direct: Of that, what the class of the argument does not matter to.
        by_methods: What counts where a method of the argument leads to what others have, or is
            one of C.
        returned: What it returns of its arguments.
        questions: What is called, or looked up, of arguments.
        prints: Where it prints.
        returns_shared: Whether it returns what it was given, or what others have as well.
        reads: Names of modules that data were found by: as (module, path).
    """

    always: tuple[Effect, ...] = ()
    on_arguments: dict[str, Effect] = field(default_factory=dict)
    direct: dict[str, Effect] = field(default_factory=dict)
    by_methods: list[ByMethod] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    questions: tuple[Question, ...] = ()
    prints: Effect | None = None
    returns_shared: bool = False
    reads: frozenset[tuple[str, str]] = frozenset()


def conclude(
    function: FunctionType,
    summary: Summary,
    notes: Notes,
    make: Callable[..., Effect] = Effect,
) -> Conclusion:
    """Tell what a function does.

    Args:
        function: was read.
        summary: what was found in its code.
        notes: what was found in that and in all code that it calls.
        make: makes the effects.

    """
    found = Conclusion(
        questions=tuple(
            Question(asked.root.name, bool(asked.root.path), asked.name, asked.how)
            for asked in summary.asked
            if type(asked.root) is Param
        ),
        prints=None if notes.prints is None else make(*notes.prints, keeps="process"),
        returns_shared=any(type(root) is Param or type(root) is Known for root in summary.returns),
        reads=frozenset(notes.reads),
    )
    always = [*_from_returns(summary, found, make), *_from_writes(summary, found, make)]
    always += [make(*site) for site in notes.places.values()]
    always += [make(*site, keeps="process") for site in notes.contexts.values()]
    always += [Effect(*site) for site in _read_and_written(function, notes)]
    # What binds most comes first.
    always.sort(key=lambda effect: effect.keeps != "here")
    found.always = tuple(always)
    return found


def _from_writes(
    summary: Summary, found: Conclusion, make: Callable[..., Effect]
) -> Iterator[Effect]:
    """Sort changes: those of arguments into what is found; give out what counts for any."""
    for write in sorted(summary.writes.values(), key=_place):
        root = write.root
        if type(root) is not Param or CLASS in root.path:
            yield make(write.text, write.file, write.line)
            continue
        effect = make(write.text, write.file, write.line, root.name)
        by = _method_on(root)
        if by is not None:
            found.by_methods.append(ByMethod(root.name, by, True, effect))
            continue
        if write.method and not root.path:
            found.by_methods.append(ByMethod(root.name, write.method, False, effect))
        else:
            found.direct.setdefault(root.name, effect)
        found.on_arguments.setdefault(root.name, effect)


def _from_returns(
    summary: Summary, found: Conclusion, make: Callable[..., Effect]
) -> Iterator[Effect]:
    """Likewise sort what is returned that is no object of the function's own."""
    for (root, is_whole), place in summary.shares.items():
        name = name_of(root)
        text = f"returns what is in `{name}`"
        if is_whole:
            text = f"returns `{name}`, which others have"
        effect = make(text, *place, keeps="process")
        if type(root) is Known:
            if is_open(root.obj, is_whole):
                yield effect
        elif type(root) is Param and CLASS not in root.path and _method_on(root) is None:
            found.returned.append(Returned(root.name, is_whole, effect))


def _method_on(root: Param) -> str | None:
    """Name the first method on the way from an argument."""
    return next((step[:-2] for step in root.path if step.endswith("()")), None)


def _place(write: Write) -> tuple[str, int]:
    return write.file, write.line


def _read_and_written(function: FunctionType, notes: Notes) -> Iterator[Site]:
    """Find globals that a function reads, and others in their modules change."""
    for (module_name, path), value in notes.reads.items():
        if isinstance(value, FunctionType | type):
            # Where it is replaced, that is seen before a call.
            continue
        module = sys.modules.get(module_name)
        namespace = function.__globals__ if module is None else vars(module)
        find = writer_of_class if "." in path else writer_of
        site = find(namespace, path)
        if site is not None:
            yield site._replace(text=f"reads the global `{path}`, which {site.text}")


def is_open(value: Any, is_whole: bool) -> bool:
    """Whether a value, or else something in it, can be told from its copy."""
    if is_fixed(value):
        return False
    if is_whole:
        return True
    if isinstance(value, bytearray):
        return False
    inside = parts_of(value)
    if inside is None:
        # Of an array of numpy's the parts share its data.
        return True
    return any(not is_fixed(part) for part in inside)
