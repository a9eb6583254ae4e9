"""What is found out about a piece of code, and what is known before an instruction of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from plait._auto.values import ITEMS, NOTHING, Fresh, Root, Value, widened

__all__ = ["Asked", "Given", "Site", "State", "Summary", "TooLarge", "Write"]


class Write(NamedTuple):
    """A change of something that is not the function's own."""

    root: Root
    # What it does, as a clause about the function.
    text: str
    file: str
    line: int
    # What is put there, and where: as an item or under the name of an attribute.
    stored: Value = NOTHING
    step: str = ITEMS
    # The method that does so where it is one of C; a class of the user's may have another.
    method: str = ""


class Asked(NamedTuple):
    """Something that is called, or looked up, of an object whose class is not known here."""

    root: Root
    # The method, or the attribute; "": the object itself is called.
    name: str
    # "call"; "get": it is looked up, as a property may be; "hand": code that is not read has it.
    how: str


class Given(NamedTuple):
    """What such calls are given."""

    arguments: tuple[Value, ...]
    keywords: dict[str, Value]
    rest: Value
    # Where.
    file: str
    line: int


class Summary:
    """What a call of some code does."""

    def __init__(self) -> None:
        """Do nothing."""
        self.writes: dict[tuple[Root, str, int, str], Write] = {}
        self.returns: Value = NOTHING
        # Where it returns what is no object of its own, and whether as a whole.
        self.shares: dict[tuple[Root, bool], tuple[str, int]] = {}
        # Of what the code makes: what it has put in, by attribute.
        self.contents: dict[Fresh, dict[str, Value]] = {}
        # What is asked of arguments, whose kinds are known when it is called.
        self.asked: dict[Asked, Given] = {}
        # Arguments that are handed to code which is not read: it may call them.
        self.handed: set[Root] = set()
        # Of the body of a class: what it binds.
        self.names: dict[str, Value] = {}


class State:
    """The stack and the variables before an instruction."""

    __slots__ = ("stack", "variables")

    def __init__(self, stack: list[Value], variables: dict[str, Value]) -> None:
        """Hold these."""
        self.stack = stack
        self.variables = variables

    def copy(self) -> State:
        """Return one that can be moved on."""
        return State(self.stack[:], self.variables.copy())

    def join(self, other: State) -> bool:
        """Take in what holds on another path; whether that was news."""
        news = False
        for place, value in enumerate(other.stack[: len(self.stack)]):
            if not value <= self.stack[place]:
                news = self._widen(self.stack, place, value) or news
        return self.join_variables(other.variables) or news

    def join_variables(self, variables: dict[str, Value]) -> bool:
        """Take in the variables alone."""
        news = False
        for name, value in variables.items():
            known = self.variables.get(name, NOTHING)
            if not value <= known:
                news = self._widen(self.variables, name, value) or news
        return news

    @staticmethod
    def _widen(held: Any, place: Any, value: Value) -> bool:
        known: Value = held[place] if isinstance(held, list) else held.get(place, NOTHING)
        held[place] = wide = widened(known | value)
        return wide != known


class TooLarge(Exception):
    """There is more code than is read."""


class Site(NamedTuple):
    """Something that the code does, and where."""

    text: str
    file: str
    line: int
