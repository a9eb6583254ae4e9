"""What a variable may refer to, as far as code tells: a set of roots.

A mutation of an object counts where one of its roots is not the function's own. What is inside an
object has the object's root, except for what the function itself has made: of that it is known what
was put in.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeAlias

__all__ = [
    "NOTHING",
    "NULL",
    "Cell",
    "Code",
    "Free",
    "Fresh",
    "Known",
    "Method",
    "Param",
    "Root",
    "Value",
    "name_of",
]


# Frozen dataclasses of the same fields differ, where named tuples would be equal.
@dataclass(frozen=True, slots=True)
class Param:
    """An argument, or something in it."""

    name: str


@dataclass(frozen=True, slots=True)
class Free:
    """What a closure's variable refers to, or something in it."""

    name: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """An object that the function makes: by the instruction, and that in the function it calls."""

    number: int | tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """The variable of a closure itself."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A function that is made of this code, inside of the one that is read."""

    made_of: CodeType

    def __eq__(self, other: object) -> bool:
        return type(other) is Code and other.made_of is self.made_of

    def __hash__(self) -> int:
        return id(self.made_of)


class Known:
    """An object that is there: the value of a global, or what a name in a module leads to."""

    __slots__ = ("obj", "path")

    def __init__(self, obj: Any, path: str) -> None:
        """Keep it, and how the code calls it."""
        self.obj = obj
        self.path = path

    def __eq__(self, other: object) -> bool:
        return type(other) is Known and other.obj is self.obj

    def __hash__(self) -> int:
        return id(self.obj)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of something."""

    name: str
    receiver: Value


Root: TypeAlias = "Param | Free | Fresh | Cell | Code | Known | Method"
Value: TypeAlias = "frozenset[Root]"

#: Something that cannot be changed, or that nobody else has.
NOTHING: Value = frozenset()

#: What stands on the stack where a call without an object has none.
NULL: Value = frozenset({Cell("")})


def name_of(root: Root) -> str:
    """Call something by the name that code has for it; it may have none."""
    if isinstance(root, Known):
        return root.path
    return root.name if isinstance(root, Param | Free) else ""
