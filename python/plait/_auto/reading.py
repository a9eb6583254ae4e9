"""Reads the bytecode of one function: which objects it changes, returns, and calls with what.

An abstract interpretation over basic blocks, the same for CPython 3.11 to 3.14: the stack and the
variables hold sets of roots (`values.py`), paths that meet have both. Bytecode and not source: a
lambda, a notebook cell or a function made by `exec` may have none. An instruction that is not known
here moves the stack by what `dis.stack_effect` says, and its result may be whatever it was given.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._auto.steps import STEPS
from plait._auto.values import (
    NOTHING,
    NULL,
    Cell,
    Code,
    Free,
    Fresh,
    Known,
    Method,
    Param,
    Root,
    Value,
)

if TYPE_CHECKING:
    from plait._auto.callees import Program

__all__ = ["Reader", "State", "Summary", "Write", "parameters"]

# What is made in functions that are called so deep in others is told apart.
_DEEPEST = 4

_VARARGS, _VARKEYWORDS = 0x04, 0x08


class Write(NamedTuple):
    """A change of something that is not the function's own."""

    root: Root
    # What it does, as a clause about the function.
    text: str
    file: str
    line: int
    # What is put there.
    stored: Value = NOTHING


class Summary:
    """What a call of some code does."""

    def __init__(self) -> None:
        """Do nothing."""
        self.writes: dict[tuple[Root, str, int], Write] = {}
        self.returns: Value = NOTHING
        # Of what the code makes: what it has put in.
        self.contents: dict[Fresh, Value] = {}
        # Methods that are called of arguments, whose kinds are known when it is called.
        self.asked: set[tuple[Root, str]] = set()
        # Arguments that are called.
        self.called: set[Root] = set()


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
                self.stack[place] |= value
                news = True
        return self.join_variables(other.variables) or news

    def join_variables(self, variables: dict[str, Value]) -> bool:
        """Take in the variables alone."""
        news = False
        for name, value in variables.items():
            known = self.variables.get(name, NOTHING)
            if not value <= known:
                self.variables[name] = known | value
                news = True
        return news


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
        self._offset = 0
        # The names of the keywords of the next call, up to 3.12.
        self.keywords: tuple[str, ...] = ()
        # How many packages up the present import is relative to.
        self.import_level = 0
        # By offset: the two constants that were loaded just before an instruction.
        self.constants: dict[int, tuple[Any, Any]] = {}
        self._changed = False

    # -- what others ask for ------------------------------------------------

    def read(self) -> Summary:
        """Read the code."""
        instructions: list[dis.Instruction] = []
        places: dict[int, int] = {}
        for instruction in dis.get_instructions(self.code):
            # A jump may lead to what only extends the argument of the next.
            places[instruction.offset] = len(instructions)
            if instruction.opname not in ("CACHE", "EXTENDED_ARG"):
                instructions.append(instruction)
        self.program.count(len(instructions))
        self._find_constants(instructions)
        handlers = self._handlers(instructions, places)
        variables: dict[str, Value] = {}
        for name in parameters(self.code):
            variables[name] = frozenset({Param(name)})
            if name in self.cells:
                self.cells[name] = variables[name]
        # Contents that grow can change what was read before: again, until they do not.
        for _ in range(5):
            self._changed = False
            self._flow(instructions, places, handlers, variables)
            if not self._changed:
                break
        return self.summary

    def _find_constants(self, instructions: list[dis.Instruction]) -> None:
        for place, instruction in enumerate(instructions):
            if instruction.opname in ("CALL_KW", "IMPORT_NAME"):
                before = [None, None, *instructions[:place]][-2:]
                first, second = (None if i is None else i.argval for i in before)
                self.constants[instruction.offset] = first, second

    def write(self, value: Value, text: str, stored: Value = NOTHING) -> None:
        """Note a change of what `value` may refer to."""
        for root in value:
            if type(root) is Fresh:
                self.put(root, stored)
            elif type(root) is Cell:
                continue
            elif type(root) is Method:
                self.write(root.receiver, text, stored)
            elif type(root) is not Code:
                self._note(Write(root, text, self.code.co_filename, self.line, stored))

    def adopt(self, write: Write, root: Root, stored: Value) -> None:
        """Note a change that code makes which this code calls."""
        if type(root) is Fresh:
            self.put(root, stored)
        elif type(root) in (Param, Free, Known):
            self._note(write._replace(root=root, stored=stored))

    def bind(self, name: str, stored: Value) -> None:
        """Note that an inner function binds a variable which it shares."""
        if name in self.cells:
            if not stored <= self.cells[name]:
                self.cells[name] |= stored
                self._changed = True
        else:
            text = f"binds `{name}`, a variable of the function around it"
            self._note(Write(Free(name), text, self.code.co_filename, self.line, stored))

    def fresh(self, contents: Value = NOTHING, mark: int = 0) -> Value:
        """Make the root of what the present instruction makes."""
        root = Fresh(self._offset * 4 + mark)
        self.put(root, contents)
        return frozenset({root})

    def taken_over(self, root: Fresh) -> Fresh:
        """Make the root of what code makes that the present instruction calls."""
        depth, number = 0, root.number
        while isinstance(number, tuple):
            depth, number = depth + 1, number[1]
        # Of functions that call themselves no depth has an end.
        return Fresh((self._offset, root.number if depth < _DEEPEST else number))

    def put(self, root: Fresh, contents: Value) -> None:
        """Put something into what this code has made."""
        known = self.summary.contents.get(root, NOTHING)
        if not contents <= known:
            self.summary.contents[root] = known | contents
            self._changed = True
        else:
            self.summary.contents.setdefault(root, known)

    def inside(self, value: Value) -> Value:
        """Tell what may be in an object."""
        found: set[Root] = set()
        for root in value:
            if type(root) is Fresh:
                found |= self.summary.contents.get(root, NOTHING)
            elif type(root) is Method:
                found |= root.receiver
            elif type(root) is not Code and type(root) is not Cell:
                found.add(root)
        return frozenset(found)

    def everything(self, value: Value) -> Value:
        """Tell what an object may be, and all that may be in it."""
        found, todo = set(value), list(value)
        while todo:
            for root in self.inside(frozenset({todo.pop()})):
                if root not in found:
                    found.add(root)
                    todo.append(root)
        return frozenset(found)

    def variable(self, name: str) -> Value:
        """Tell what a variable refers to that is shared with functions in or around this one."""
        if name in self.cells:
            return self.cells[name]
        if self.outer is not None and (
            name in self.outer.cells or name in self.outer.code.co_freevars
        ):
            return frozenset({Free(name)})
        return self.program.free(self, name)

    # -- the flow -----------------------------------------------------------

    def _note(self, write: Write) -> None:
        key = (write.root, write.file, write.line)
        known = self.summary.writes.get(key)
        if known is None:
            self.summary.writes[key] = write
        elif not write.stored <= known.stored:
            self.summary.writes[key] = known._replace(stored=known.stored | write.stored)

    def _handlers(
        self, instructions: list[dis.Instruction], places: dict[int, int]
    ) -> dict[int, tuple[int, int]]:
        """Map the place of each instruction to its handler's, and the depth of the stack there."""
        found: dict[int, tuple[int, int]] = {}
        for entry in getattr(dis.Bytecode(self.code), "exception_entries", ()):
            for place, instruction in enumerate(instructions):
                if entry.start <= instruction.offset < entry.end and entry.target in places:
                    found[place] = places[entry.target], entry.depth + entry.lasti
        return found

    def _flow(
        self,
        instructions: list[dis.Instruction],
        places: dict[int, int],
        handlers: dict[int, tuple[int, int]],
        variables: dict[str, Value],
    ) -> None:
        states: dict[int, State] = {0: State([], variables.copy())}
        todo = [0]

        def reach(place: int, state: State) -> None:
            known = states.get(place)
            if known is None:
                states[place] = state.copy()
                todo.append(place)
            elif known.join(state):
                todo.append(place)

        targets = {places[i.argval] for i in instructions if i.opcode in _JUMPS}
        while todo:
            place = todo.pop()
            state = states[place].copy()
            while place < len(instructions):
                instruction = instructions[place]
                handler = handlers.get(place)
                if handler is not None:
                    self._raise(handler, state, reach)
                depth = len(state.stack)
                if instruction.opcode in _JUMPS:
                    jumped = state.copy()
                    self._move(jumped.stack, _effect(instruction, jump=True), depth)
                    reach(places[instruction.argval], jumped)
                self._step(instruction, state)
                self._move(state.stack, _effect(instruction, jump=False), depth)
                if handler is not None:
                    self._raise(handler, state, reach)
                if instruction.opname in _ENDS:
                    break
                place += 1
                if place in targets:
                    reach(place, state)
                    break

    @staticmethod
    def _raise(handler: tuple[int, int], state: State, reach: Callable[[int, State], None]) -> None:
        target, depth = handler
        stack = [*state.stack[:depth], *[NOTHING] * (depth - len(state.stack)), NOTHING]
        reach(target, State(stack, state.variables))

    @staticmethod
    def _move(stack: list[Value], effect: int, before: int) -> None:
        """Bring a stack to its height, should a step have left it at another."""
        wanted = max(0, before + effect)
        if len(stack) > wanted:
            del stack[wanted:]
        else:
            stack.extend([NOTHING] * (wanted - len(stack)))

    def _step(self, instruction: dis.Instruction, state: State) -> None:
        positions = instruction.positions
        if positions is not None and positions.lineno is not None:
            self.line = positions.lineno
        self._offset = instruction.offset
        step = STEPS.get(instruction.opname)
        if step is not None:
            step(self, instruction, state)
        elif instruction.opcode not in _JUMPS and instruction.opname not in _PLAIN:
            self._unknown(instruction, state)

    def _unknown(self, instruction: dis.Instruction, state: State) -> None:
        """Give out whatever may have gone in."""
        effect = _effect(instruction, jump=False)
        taken = state.stack[min(effect, -1) :]
        del state.stack[len(state.stack) + min(effect, 0) :]
        mixed = NOTHING.union(*taken) - NULL
        if effect <= 0 and state.stack:
            state.stack[-1] = (state.stack[-1] | mixed) - NULL
        else:
            state.stack.extend([mixed] * effect)

    def load(self, name: str, state: State) -> Value:
        """Tell what a local variable refers to."""
        if name in self.cells or name in self.code.co_freevars:
            return frozenset({Cell(name)})
        return state.variables.get(name, NOTHING)

    def pops(self, state: State, count: int) -> list[Value]:
        """Take values from the stack, the lowest first."""
        if count == 0:
            return []
        taken = state.stack[-count:]
        del state.stack[-count:]
        return [NOTHING] * (count - len(taken)) + taken


def parameters(code: CodeType) -> tuple[str, ...]:
    """List the names of the parameters of code, those that take the rest included."""
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & _VARARGS) + bool(code.co_flags & _VARKEYWORDS)
    return code.co_varnames[:count]


def _effect(instruction: dis.Instruction, *, jump: bool) -> int:
    name, argument = instruction.opname, instruction.arg
    if sys.version_info < (3, 12):
        # There a call is two instructions, and `dis` tells of both together.
        if name == "PRECALL":
            return 0
        if name == "CALL":
            return -1 - (argument or 0)
    if instruction.opcode < dis.HAVE_ARGUMENT:
        argument = None
    return dis.stack_effect(instruction.opcode, argument, jump=jump)


_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs) | frozenset(getattr(dis, "hasjump", ()))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENDS = _words(
    "RETURN_VALUE RETURN_CONST RAISE_VARARGS RERAISE JUMP_FORWARD JUMP_BACKWARD JUMP "
    "JUMP_BACKWARD_NO_INTERRUPT JUMP_NO_INTERRUPT INTERPRETER_EXIT"
)
# They move the stack, and that is all.
_PLAIN = _words(
    "NOP RESUME CACHE PRECALL MAKE_CELL COPY_FREE_VARS POP_TOP POP_EXCEPT END_FOR POP_ITER "
    "END_SEND EXTENDED_ARG SETUP_ANNOTATIONS PUSH_EXC_INFO CHECK_EXC_MATCH CHECK_EG_MATCH "
    "RAISE_VARARGS RERAISE LOAD_ASSERTION_ERROR LOAD_COMMON_CONSTANT LOAD_BUILD_CLASS GEN_START "
    "RETURN_GENERATOR ASYNC_GEN_WRAP CLEANUP_THROW NOT_TAKEN INTERPRETER_EXIT RETURN_CONST "
    "GET_LEN MATCH_MAPPING MATCH_SEQUENCE WITH_EXCEPT_START PREP_RERAISE_STAR"
)
