"""Follows the calls between the user's functions, and knows what others do."""

from __future__ import annotations

import builtins
import importlib
import logging
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING

from plait._auto.classes import is_users_class
from plait._auto.functions import CACHED, behind, bind, held, is_in, may_be_called, unwrapped
from plait._auto.reading import Reader
from plait._auto.summary import Asked
from plait._auto.tables import (
    CHANGING_FIRST,
    COPYING,
    PASSING,
    is_generator_state,
    is_user_code,
    passes_on,
)
from plait._auto.values import (
    NOTHING,
    Code,
    Const,
    Free,
    Fresh,
    Known,
    Local,
    Method,
    Param,
    Root,
    Value,
    is_sum,
)

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Callees"]

# What a call counts for of all that is looked at.
_CALL = 10

_BUILD_CLASS = builtins.__build_class__


class Callees:
    """Finds what calls do, whatever is called; part of a `Program`."""

    def __init__(self, program: Program) -> None:
        """Serve a program."""
        self._program = program
        self._under_way: set[tuple[object, ...]] = set()
        # What functions were given by code that is not read.
        self._called_back: dict[tuple[int, Root], Value] = {}

    def enter(self, reader: Reader, value: Value, *, is_async: bool = False) -> None:
        """Take note of a `with` statement."""
        for name in ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__"):
            self.call(reader, frozenset({Method(name, value)}), [], {})

    def call(
        self,
        reader: Reader,
        callee: Value,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value = NOTHING,
    ) -> Value:
        """Take note of a call.

        Args:
            reader: reads the code that calls.
            callee: what is called.
            arguments: by position.
            keywords: by name.
            rest: what else may be any of them.

        Returns:
            What the call may return.

        """
        given = NOTHING.union(rest, *arguments, *keywords.values())
        self._program.work(_CALL * (1 + len(callee)) + len(given))
        found: Value = NOTHING
        unread = not callee
        named = any(type(root) is Method for root in callee)
        for root in callee:
            if named and type(root) is Known and not callable(root.obj):
                # The object of the method, as far as code tells.
                continue
            value, read = self._call_one(reader, root, arguments, keywords, rest, named=named)
            found |= value
            unread = unread or not read
        if unread:
            self.call_back(reader, given)
            # What it returns may be what it was given, with something around.
            made = frozenset(root for root in given if type(root) in (Code, Method))
            if made:
                found |= reader.fresh(made, mark=3)
            found |= frozenset(root for root in given if type(root) is Local)
        return found

    def _call_one(
        self,
        reader: Reader,
        root: Root,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
        *,
        named: bool,
    ) -> tuple[Value, bool]:
        """Take note of a call; tell what it may return, and whether all of it was read."""
        if type(root) is Known:
            return self._call_known(reader, root, arguments, keywords, rest)
        if type(root) is Code:
            code = root.made_of
            summary = self._program.summary(code, code, None, reader)
            bound = bind(reader, code, arguments, keywords, rest)
            return self._program.taking.take_over(
                reader, summary, bound, None, is_own=is_in(code, reader)
            ), True
        if type(root) is Method and not root.receiver and arguments:
            # Of a `methodcaller`.
            root, arguments = Method(root.name, arguments[0]), arguments[1:]
        if type(root) is Method:
            return self._program.objects.call(reader, root, arguments, keywords, rest)
        if type(root) is Local:
            return self._program.making.make_local(reader, root, arguments, keywords, rest), True
        if type(root) is Param or type(root) is Free:
            if not named:
                reader.ask(Asked(root, "", "call"), arguments, keywords, rest)
        elif type(root) is Fresh and not named:
            given = NOTHING.union(rest, *arguments, *keywords.values())
            if root.kind is not None:
                method = Method("__call__", frozenset({root}))
                return self._program.objects.call(reader, method, arguments, keywords, rest)
            # A `functools.partial`, say: it calls what was put into it.
            self.call_back(reader, reader.inside(frozenset({root})), given)
        return NOTHING, False

    def call_back(self, reader: Reader, given: Value, others: Value = NOTHING) -> None:
        """Take note that code which is not read may call the functions that it is given."""
        functions = [root for root in given if may_be_called(root)]
        for root in given:
            if type(root) is Param or type(root) is Free:
                reader.summary.handed.add(root)
        if not functions:
            return
        rest = reader.everything(given | others).difference(functions)
        rest = frozenset(root for root in rest if type(root) is not Const)
        for root in functions:
            key = id(reader), root
            known = self._called_back.get(key)
            if known is None or not rest <= known:
                self._called_back[key] = rest if known is None else rest | known
                if type(root) is Method:
                    self._program.objects.call(reader, root, [], {}, rest, "hand")
                else:
                    self.call(reader, frozenset({root}), [], {}, rest)

    def escape(self, reader: Reader, value: Value) -> None:
        """Take note that functions leave the code that makes them: whoever has them calls them."""
        for root in reader.everything(value):
            if type(root) is Code:
                self.call(reader, frozenset({root}), [], {})
            elif type(root) is Local:
                made = self._program.making.make_local(reader, root, [], {}, NOTHING)
                self.call_back(
                    reader, NOTHING.union(*self._program.making.names_of(root.body).values()), made
                )

    def _call_known(
        self,
        reader: Reader,
        known: Known,
        arguments: list[Value],
        keywords: dict[str, Value],
        rest: Value,
    ) -> tuple[Value, bool]:
        obj, before = unwrapped(known.obj)
        if before:
            arguments = [*(held(value, known.path) for value in before), *arguments]
            if is_generator_state(before[0]):
                reader.write(arguments[0], f"draws random numbers by `{known.path}`")
        if isinstance(obj, FunctionType) and is_user_code(obj.__code__):
            bound = bind(reader, obj.__code__, arguments, keywords, rest, obj)
            returned = self._program.taking.take_over(
                reader, self._program.of_function(obj), bound, obj
            )
            # What a cache gives out, it gives out again.
            if type(known.obj) is CACHED and not all(map(is_sum, returned)):
                returned |= {known.part()}
            return returned, True
        given = NOTHING.union(rest, *arguments, *keywords.values())
        if not callable(obj):
            # Something in it is called, whatever that is.
            reader.write(frozenset({known}), f"calls what it finds in `{known.path}`")
            return NOTHING, False
        if obj is _BUILD_CLASS:
            return self._program.making.build(
                reader, arguments, NOTHING.union(*keywords.values())
            ), True
        for inner in behind(obj):
            self.call(reader, frozenset({Known(inner, known.path)}), arguments, keywords, rest)
        if obj is logging.getLogger:
            return frozenset({Known(logging.root, f"{known.path}()")}), False
        if obj is builtins.__import__ or obj is importlib.import_module:
            return self._program.libraries.imported(reader, arguments), False
        by_name = self._program.libraries.by_name(reader, obj, known.path, arguments)
        if by_name is not None:
            return by_name, False
        if isinstance(obj, operator.itemgetter | operator.attrgetter):
            return reader.inside(given), False
        if isinstance(obj, operator.methodcaller) or obj is operator.methodcaller:
            return self._program.libraries.by_caller(reader, obj, arguments, keywords, rest)
        self._program.libraries.look_at(reader, obj, known.path, arguments, keywords)
        if isinstance(obj, type):
            return self._program.making.make(reader, obj, arguments, keywords, rest, given)
        if id(obj) in PASSING or passes_on(obj):
            return given | reader.inside(given), False
        if id(obj) in COPYING:
            return reader.fresh(reader.inside(given)), False
        if id(obj) in CHANGING_FIRST:
            first = arguments[0] if arguments else rest
            reader.write(first, f"calls `{known.path}` on an argument", given)
            return reader.inside(first), False
        if is_users_class(type(obj)):
            method = Method("__call__", frozenset({Known(obj, known.path)}))
            return self._program.objects.call(reader, method, arguments, keywords, rest)
        return reader.fresh(), False

    def returned(self, reader: Reader, value: Value, method: str) -> Value:
        """Tell what a method of an object returns."""
        found: Value = NOTHING
        for root in value:
            with self.once("returned", id(reader), root, method) as is_first:
                if is_first:
                    receiver = frozenset({root})
                    found |= self.call(reader, frozenset({Method(method, receiver)}), [], {})
        return found

    @contextmanager
    def once(self, *key: object) -> Iterator[bool]:
        """Tell whether that is not under way: it is as long as this is held."""
        is_first = key not in self._under_way
        self._under_way.add(key)
        try:
            yield is_first
        finally:
            if is_first:
                self._under_way.discard(key)
