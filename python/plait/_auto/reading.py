"""Reads the bytecode of one function: which objects it changes, returns, and calls with what.

An abstract interpretation over basic blocks (`paths.py`), the same for CPython 3.11 to 3.14: the
stack and the variables hold sets of roots (`values.py`), paths that meet have both. Bytecode and
not source: a lambda, a notebook cell or a function made by `exec` may have none. An instruction
that is not known (`steps/`) moves the stack by what `dis.stack_effect` says, and its result may be
whatever it was given.
"""

from __future__ import annotations

import dis
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from plait._auto.parameters import parameters
from plait._auto.paths import Paths, State
from plait._auto.steps import STEPS, unknown
from plait._auto.summary import Asked, Given, Summary, Write
from plait._auto.values import (
    ANY,
    CLASS,
    ITEMS,
    NOTHING,
    Cell,
    Code,
    Const,
    Free,
    Fresh,
    Known,
    Method,
    Param,
    Root,
    Super,
    Value,
    class_root,
    further,
    widened,
)

if TYPE_CHECKING:
    from plait._auto.program import Program

__all__ = ["Reader"]

# What is made in functions that are called so deep in others is told apart.
_DEEPEST = 4


class Reader:
    """Reads one piece of code.

    Args:
        program: finds what names lead to, and what calls do.
        code: the code.
        function: whose code it is; None: of one that is made when `outer` runs.
        outer: reads the code around this one, whose variables it shares.

    """

    def __init__(
        self,
        program: Program,
        code: CodeType,
        function: FunctionType | None,
        outer: Reader | None = None,
    ) -> None:
        """Have read nothing yet."""
        self.program = program
        self.code = code
        self.function = function
        self.outer = outer
        self.namespace: dict[str, Any] = {}
        if function is not None:
            self.namespace = function.__globals__
        elif outer is not None:
            self.namespace = outer.namespace
        self.summary = Summary()
        # What the variables refer to that functions in here share.
        self.cells: dict[str, Value] = dict.fromkeys(code.co_cellvars, NOTHING)
        # Of the present instruction.
        self.line = code.co_firstlineno
        #: Where something is done that comes of a call there, if it is known better.
        self.elsewhere: tuple[str, int] | None = None
        self._offset = 0
        # The names of the keywords of the next call, up to 3.12.
        self.keywords: tuple[str, ...] = ()
        # Of functions that are made here: what those of their parameters are that are not given.
        self.defaults: dict[int, Value] = {}
        # How many packages up the present import is relative to.
        self.import_level = 0
        # By offset: the two constants that were loaded just before an instruction.
        self.constants: dict[int, tuple[Any, Any]] = {}
        self._changed = False

    @property
    def place(self) -> tuple[str, int]:
        """Tell where the code is that does what is read now."""
        return self.elsewhere or (self.code.co_filename, self.line)

    def read(self) -> Summary:
        """Read the code."""
        paths = Paths(self.code)
        self.program.count(len(paths))
        self.constants = paths.constants
        variables: dict[str, Value] = {}
        for name in parameters(self.code):
            variables[name] = frozenset({Param(name)})
            if name in self.cells:
                self.cells[name] = variables[name]
        # Contents that grow can change what was read before: again, until they do not.
        for _ in range(5):
            self._changed = False
            paths.follow(variables, self._step)
            if not self._changed:
                break
        for root in self.summary.returns:
            parts = self.summary.contents.get(root, {}) if isinstance(root, Fresh) else {}
            for step, held in parts.items():
                if step.startswith("[") and step != ITEMS:
                    # `return rows, 1`.
                    self._share(held)
        return self.summary

    def _share(self, value: Value) -> None:
        """Note that it returns, or returns something with, what is no object of its own."""
        for root in value:
            if isinstance(root, Param | Known):
                is_whole = not root.path if isinstance(root, Param) else not root.is_part
                self.summary.shares.setdefault((root, is_whole), self.place)

    def write(
        self, value: Value, text: str, stored: Value = NOTHING, step: str = ITEMS, method: str = ""
    ) -> None:
        """Note a change of what `value` may refer to."""
        for root in value:
            if type(root) is Fresh:
                self.put(root, stored, step)
            elif type(root) is Method or type(root) is Super:
                self.write(root.receiver, text, stored)
            elif type(root) in (Param, Free, Known):
                self._note(Write(root, text, *self.place, stored, step, method))

    def adopt(self, write: Write, root: Root, stored: Value) -> None:
        """Note a change that code makes which this code calls."""
        if type(root) is Fresh:
            self.put(root, stored, write.step)
        elif type(root) in (Param, Free, Known):
            self._note(write._replace(root=root, stored=stored))

    def ask(
        self,
        asked: Asked,
        arguments: Sequence[Value] = (),
        keywords: Mapping[str, Value] | None = None,
        rest: Value = NOTHING,
    ) -> None:
        """Note that something is called or looked up of an object whose class is not known."""
        self.program.work(1)
        known = self.summary.asked.get(asked)
        if known is None:
            given = Given(tuple(arguments), dict(keywords or {}), rest, *self.place)
        else:
            places = zip_longest(known.arguments, arguments, fillvalue=NOTHING)
            given = Given(
                tuple(one | other for one, other in places),
                {
                    name: known.keywords.get(name, NOTHING) | (keywords or {}).get(name, NOTHING)
                    for name in {*known.keywords, *(keywords or {})}
                },
                known.rest | rest,
                known.file,
                known.line,
            )
        if given != known:
            self.summary.asked[asked] = given

    def note_defaults(self, functions: Value, values: Value) -> None:
        """Note what a function that is made here holds beside its variables."""
        for root in functions:
            if type(root) is Code:
                known = self.defaults.get(id(root.made_of), NOTHING)
                self.defaults[id(root.made_of)] = known | values | self.inside(values)

    def hand_out(self, value: Value) -> None:
        """Note that the code returns something, or yields it."""
        self._share(value)
        returns = widened(self.summary.returns | value)
        if returns == self.summary.returns:
            return
        self.summary.returns = returns
        # What is made here may be called once the variables that it shares are out of sight.
        self.program.callees.escape(self, value)

    def bind(self, name: str, stored: Value) -> None:
        """Note that an inner function binds a variable which it shares."""
        if name in self.cells:
            if not stored <= self.cells[name]:
                wide = widened(self.cells[name] | stored)
                self._changed = self._changed or wide != self.cells[name]
                self.cells[name] = wide
        else:
            text = f"binds `{name}`, a variable of the function around it"
            self._note(Write(Free(name), text, *self.place, stored))

    def fresh(self, contents: Value = NOTHING, mark: int = 0, kind: Any = None) -> Value:
        """Make the root of what the present instruction makes."""
        root = Fresh(self._offset * 4 + mark, kind)
        self.put(root, contents)
        return frozenset({root})

    def taken_over(self, root: Fresh) -> Fresh:
        """Make the root of what code makes that the present instruction calls."""
        depth, number = 0, root.number
        while isinstance(number, tuple):
            depth, number = depth + 1, number[1]
        # Of functions that call themselves no depth has an end.
        return Fresh((self._offset, root.number if depth < _DEEPEST else number), root.kind)

    def put(self, root: Fresh, contents: Value, step: str = ITEMS) -> None:
        """Put something into what this code has made."""
        parts = self.summary.contents.setdefault(root, {})
        known = parts.get(step, NOTHING)
        if not contents <= known:
            contents = frozenset(part for part in contents if type(part) is not Const)
            wide = widened(known | contents)
            if wide != known:
                parts[step] = wide
                self._changed = True

    def inside(self, value: Value) -> Value:
        """Tell what may be in an object."""
        return self.at(value, ITEMS)

    def at(self, value: Value, step: str) -> Value:
        """Tell what is one step on from an object."""
        self.program.work(1 + len(value))
        found: set[Root] = set()
        for root in value:
            if type(root) is Fresh:
                parts = self.summary.contents.get(root, {})
                if step == CLASS:
                    found |= class_root(root)
                elif step == ITEMS:
                    found.update(*parts.values())
                elif step.startswith("["):
                    # Of a list nobody knows which item it is.
                    found |= parts.get(step, NOTHING) | parts.get(ITEMS, NOTHING)
                    if not any(part.startswith("[") for part in parts):
                        found.update(*parts.values())
                else:
                    found |= parts.get(step, NOTHING) | parts.get(ITEMS, NOTHING)
            elif type(root) is Param or type(root) is Free:
                found.add(further(root, ITEMS if step.startswith("[") else step))
            elif type(root) is Known:
                found |= class_root(root) if step == CLASS else {root.part()}
            elif type(root) is Method or type(root) is Super:
                found |= root.receiver
        return frozenset(found)

    def along(self, value: Value, path: tuple[str, ...]) -> Value:
        """Tell what is at the end of a way from an object."""
        for step in path:
            if step == ANY:
                value = self.everything(value)
            elif step.endswith("()"):
                value = self.program.callees.returned(self, value, step[:-2])
            elif step in (ITEMS, CLASS):
                value = self.at(value, step)
            else:
                value = self.program.objects.attributes(self, value, step)
        return value

    def everything(self, value: Value) -> Value:
        """Tell what an object may be, and all that may be in it."""
        found, todo = set(value), list(value)
        while todo:
            root = todo.pop()
            if type(root) is Param or type(root) is Free:
                found.add(further(root, ANY))
                continue
            for part in self.inside(frozenset({root})):
                if part not in found:
                    found.add(part)
                    todo.append(part)
        self.program.work(len(found))
        return widened(frozenset(found))

    def variable(self, name: str) -> Value:
        """Tell what a variable refers to that is shared with functions in or around this one."""
        if name in self.cells:
            return self.cells[name]
        if self.outer is not None and (
            name in self.outer.cells or name in self.outer.code.co_freevars
        ):
            return frozenset({Free(name)})
        return self.program.names.free(self, name)

    def load(self, name: str, state: State) -> Value:
        """Tell what a local variable refers to."""
        if name in self.cells or name in self.code.co_freevars:
            return frozenset({Cell(name)})
        return state.variables.get(name, NOTHING)

    def _step(self, instruction: dis.Instruction, state: State) -> None:
        positions = instruction.positions
        if positions is not None and positions.lineno is not None:
            self.line = positions.lineno
        self._offset = instruction.offset
        STEPS.get(instruction.opname, unknown)(self, instruction, state)

    def _note(self, write: Write) -> None:
        key = (write.root, write.file, write.line, write.step)
        known = self.summary.writes.get(key)
        if known is None:
            self.summary.writes[key] = write
        elif not write.stored <= known.stored:
            self.summary.writes[key] = known._replace(stored=known.stored | write.stored)
