"""What a call does whose code was read, in terms of the code that calls."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

from plait._auto.attributes import may_be_method
from plait._auto.classes import definition, is_users_class
from plait._auto.reading import Reader
from plait._auto.summary import Asked, Given, Summary, Write
from plait._auto.values import (
    NOTHING,
    Free,
    Fresh,
    Known,
    Method,
    Param,
    Root,
    Super,
    Value,
    widened,
)

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Taking"]


class Taking:
    """Takes over what calls do; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program

    def take_over(
        self,
        reader: Reader,
        summary: Summary,
        bound: dict[str, Value],
        function: FunctionType | None,
        *,
        is_own: bool = True,
    ) -> Value:
        """Take note of what a call does whose code was read.

        Args:
            reader: reads the code that calls.
            summary: what the call does.
            bound: what the parameters are.
            function: what is called; None: it is made inside of the code that calls.
            is_own: whether the variables around it are those of the code that calls.

        Returns:
            What it may return.

        """

        def here(value: Value) -> Value:
            found: set[Root] = set()
            for root in value:
                if type(root) is Param:
                    found |= reader.along(bound.get(root.name, NOTHING), root.path)
                elif type(root) is Free:
                    if function is None and is_own:
                        found |= reader.along(reader.variable(root.name), root.path)
                elif type(root) is Fresh:
                    found.add(reader.taken_over(root))
                elif type(root) is Method:
                    found |= {
                        Method(root.name, frozenset({one}))
                        for one in here(root.receiver)
                        if may_be_method(one, root.name)
                    }
                elif type(root) is Super:
                    found.add(Super(here(root.after), here(root.receiver)))
                else:
                    found.add(root)
            return widened(frozenset(found))

        for fresh, parts in list(summary.contents.items()):
            root = reader.taken_over(fresh)
            reader.put(root, NOTHING)
            for step, contents in list(parts.items()):
                reader.put(root, here(contents), step)
        for write in list(summary.writes.values()):
            self._take_over_write(reader, write, here, function, is_own=is_own)
        for asked, given in list(summary.asked.items()):
            if type(asked.root) is Free and function is not None:
                continue
            targets = here(frozenset({asked.root}))
            for one in (frozenset({target}) for target in targets) if asked.name else (targets,):
                self._answer(reader, id(summary), asked, one, given, here)
        if summary.handed:
            self._program.callees.call_back(reader, here(frozenset(summary.handed)))
        return here(summary.returns)

    def _answer(
        self, reader: Reader, number: int, asked: Asked, targets: Value, given: Given, here: Any
    ) -> None:
        """Take note of what code asks of its arguments, now that it is known what these are."""
        before = reader.elsewhere
        # A function that is given to itself is called once.
        with self._program.callees.once("asked", number, asked, targets) as is_first:
            if not is_first:
                return
            reader.elsewhere = given.file, given.line
            arguments = [here(value) for value in given.arguments]
            keywords = {name: here(value) for name, value in given.keywords.items()}
            rest = here(given.rest)
            if not asked.name:
                if targets:
                    self._program.callees.call(reader, targets, arguments, keywords, rest)
            elif asked.how != "get":
                method = Method(asked.name, targets)
                self._program.objects.call(reader, method, arguments, keywords, rest, asked.how)
            else:
                self._program.objects.attributes(reader, targets, asked.name)
        reader.elsewhere = before

    def _take_over_write(
        self,
        reader: Reader,
        write: Write,
        here: Any,
        function: FunctionType | None,
        *,
        is_own: bool,
    ) -> None:
        root = write.root
        if type(root) is Free and function is not None:
            # A closure that is there keeps what it is told.
            reader.adopt(write, Known(function, root.name), NOTHING)
            return
        if type(root) is Free and write.text.startswith("binds "):
            if is_own:
                reader.bind(root.name, here(write.stored))
            return
        for target in here(frozenset({root})):
            if write.method and type(target) in (Known, Fresh):
                # The user's classes may have methods of that name that do something else.
                kinds = self._program.objects.kinds_of(target)
                if any(definition(cls, write.method) for cls in kinds) and (
                    type(target) is Known and is_users_class(type(target.obj))
                ):
                    continue
            reader.adopt(write, target, here(write.stored))
