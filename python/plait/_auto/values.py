"""What a variable may refer to, as far as code tells: a set of roots.

A mutation of an object counts where one of its roots is not the function's own. Of what the
function itself has made it is known what was put in, by attribute; of an argument, which way led
from it to the object (`Param.path`), so that a caller who has made the argument knows which part is
meant. What is inside any other object has that object's root.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeAlias

__all__ = [
    "ANY",
    "CLASS",
    "ITEMS",
    "NOTHING",
    "NULL",
    "Cell",
    "Code",
    "Const",
    "Free",
    "Fresh",
    "Known",
    "Local",
    "Method",
    "Param",
    "Root",
    "Super",
    "Value",
    "called",
    "class_root",
    "further",
    "is_sum",
    "name_of",
    "result_of",
    "widened",
]

#: Steps from an object to what is in it, beside the names of attributes: its items; anything that
#: is in it or in that; its class.
ITEMS, ANY, CLASS = "[]", "*", "__class__"
# Of longer ways the rest is `ANY`.
_LONGEST = 2
# Of more that a variable may refer to, the ways from arguments are not told apart.
_WIDEST = 24


# Frozen dataclasses of the same fields differ, where named tuples would be equal.
@dataclass(frozen=True, slots=True)
class Param:
    """An argument, or something in it."""

    name: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Free:
    """What a closure's variable refers to, or something in it."""

    name: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fresh:
    """An object that the function makes: by the instruction, and that in the function it calls.

    Attributes:
        number: Which one.
        kind: Its class where that is a user's: a class, or the code of one that is made inside.
    """

    number: int | tuple[int, Any]
    kind: Any = None

    # The class is not compared: a metaclass may have been taught another `==`.
    def __eq__(self, other: object) -> bool:
        return type(other) is Fresh and other.number == self.number and other.kind is self.kind

    def __hash__(self) -> int:
        return hash((self.number, id(self.kind)))


@dataclass(frozen=True, slots=True)
class Cell:
    """The variable of a closure itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    """A string that stands in the code, and may be the name of an attribute."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A function that is made of this code, inside of the one that is read."""

    made_of: CodeType

    def __eq__(self, other: object) -> bool:
        return type(other) is Code and other.made_of is self.made_of

    def __hash__(self) -> int:
        return id(self.made_of)


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """A class that is made inside of the function that is read: by the code of its body."""

    body: CodeType

    def __eq__(self, other: object) -> bool:
        return type(other) is Local and other.body is self.body

    def __hash__(self) -> int:
        return id(self.body) + 1


class Known:
    """An object that is there: the value of a global, or what a name in a module leads to."""

    __slots__ = ("_part", "is_part", "obj", "path")

    def __init__(self, obj: Any, path: str, *, is_part: bool = False) -> None:
        """Keep it, and how the code calls it."""
        self.obj = obj
        self.path = path
        #: Whether it stands for something in the object. It counts as the same all the same.
        self.is_part = is_part
        self._part: Known | None = None

    def part(self) -> Known:
        """Stand for something in the object."""
        if self.is_part:
            return self
        if self._part is None:
            self._part = Known(self.obj, self.path, is_part=True)
        return self._part

    def __eq__(self, other: object) -> bool:
        return type(other) is Known and other.obj is self.obj

    def __hash__(self) -> int:
        return id(self.obj)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of something."""

    name: str
    receiver: Value


@dataclass(frozen=True, slots=True)
class Super:
    """What `super()` gives: the methods of an object that come after those of a class."""

    after: Value
    receiver: Value


Root: TypeAlias = "Param | Free | Fresh | Cell | Const | Code | Local | Known | Method | Super"
Value: TypeAlias = "frozenset[Root]"

#: Something that cannot be changed, or that nobody else has.
NOTHING: Value = frozenset()

#: What stands on the stack where a call without an object has none.
NULL: Value = frozenset({Cell("")})


def further(root: Param | Free, step: str) -> Param | Free:
    """Go one step on from an argument, or the variable of a closure."""
    path = root.path
    if path and path[-1] == ANY:
        return root
    is_long = len(path) >= _LONGEST + (step in (CLASS, ITEMS))
    if is_long or (path and path[-1] == step == ITEMS):
        step = ANY
    return type(root)(root.name, (*path, step))


def class_root(root: Root) -> Value:
    """Tell the class of an object."""
    if type(root) is Known:
        return frozenset({Known(type(root.obj), f"type({root.path})")})
    if type(root) is Fresh and isinstance(root.kind, type):
        return frozenset({Known(root.kind, root.kind.__qualname__)})
    if type(root) is Fresh and root.kind is not None:
        return frozenset({Local(root.kind)})
    return NOTHING


def is_sum(root: Root) -> bool:
    """Whether something is made by an operator: a number or a string, most likely."""
    number: Any = root.number if isinstance(root, Fresh) else 0
    while isinstance(number, tuple):
        number = number[1]
    return bool(number % 4 == 1)


def widened(value: Value) -> Value:
    """Have no more ways from an argument in a value than can be followed in time."""
    if len(value) <= _WIDEST:
        return value
    return frozenset(
        type(root)(root.name, (ANY,)) if isinstance(root, Param | Free) and root.path else root
        for root in value
        if type(root) is not Const
    )


def result_of(method: str) -> str:
    """Return the step to what a method returns."""
    return f"{method}()"


def name_of(root: Root) -> str:
    """Call something by the name that code has for it; it may have none."""
    if isinstance(root, Known):
        return root.path
    if not isinstance(root, Param | Free):
        return ""
    shown = [step for step in root.path if step.isidentifier()]
    return ".".join([root.name, *shown])


def called(owner: Value) -> str:
    """Call what is changed by its name."""
    names = {f"`{name}`" for name in map(name_of, owner) if name}
    return " or ".join(sorted(names)) or "an object"
