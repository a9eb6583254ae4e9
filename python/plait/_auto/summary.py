"""What is found out about a piece of code, and what is known before an instruction of it."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any, NamedTuple

from plait._auto.values import ITEMS, NOTHING, Fresh, Root, Value

__all__ = ["Asked", "Given", "Notes", "Site", "Summary", "TooLarge", "Write"]


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


class TooLarge(Exception):
    """There is more code than is read."""


class Site(NamedTuple):
    """Something that the code does, and where."""

    text: str
    file: str
    line: int


class Notes:
    """What is found out about all the code of a program, beside what each piece of it does."""

    def __init__(self) -> None:
        """Have found nothing."""
        #: Names of modules that data were found by, as (module, path), and the data.
        self.reads: dict[tuple[str, str], object] = {}
        #: The globals that were looked up: what was found stands as long as they are the same.
        self.depends: dict[tuple[int, str], tuple[dict[str, Any], str, object]] = {}
        #: Attributes of objects that were looked up: likewise.
        self.attributes_of: dict[tuple[int, str], tuple[object, str, object]] = {}
        #: What has another answer in another thread or process: by where it is asked.
        self.places: dict[tuple[str, int], Site] = {}
        #: What has another answer in another process alone.
        self.contexts: dict[tuple[str, int], Site] = {}
        #: The user's classes among what is called.
        self.classes: set[type] = set()
        #: Where something is printed on standard output.
        self.prints: Site | None = None

    def depend_on_attribute(self, obj: Any, name: str, value: object) -> None:
        """Take note that what was found in an object counts as long as it is there."""
        self.attributes_of[id(obj), name] = obj, name, value

    def ask_place(self, place: tuple[str, int], what: str, path: str) -> None:
        """Take note that the code asks, by that name, for something of its thread or process."""
        self.places.setdefault(place, Site(f"asks for {what}: `{path}`", *place))

    def ask_context(self, place: tuple[str, int], path: str) -> None:
        """Take note that the code asks for a context variable."""
        self.contexts.setdefault(place, Site(f"asks for a context variable: `{path}`", *place))

    def compare(self, named: type | FunctionType) -> None:
        """Have a class or function compared that workers find by its name."""
        module, name = named.__module__, named.__qualname__
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        if found is named:
            self.reads[module, name] = named
