"""The paths through a piece of code: blocks, jumps and handlers, and the stack on the way."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from functools import cached_property
from types import CodeType
from typing import Any

from plait._auto.values import NOTHING, Value, widened

__all__ = ["JUMPS", "Paths", "State", "stack_effect"]

JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs) | frozenset(getattr(dis, "hasjump", ()))

# What follows them in the code does not follow them as it runs.
_ENDS = frozenset(
    {
        "RETURN_VALUE",
        "RETURN_CONST",
        "RAISE_VARARGS",
        "RERAISE",
        "JUMP_FORWARD",
        "JUMP_BACKWARD",
        "JUMP",
        "JUMP_BACKWARD_NO_INTERRUPT",
        "JUMP_NO_INTERRUPT",
        "INTERPRETER_EXIT",
    }
)


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

    def pops(self, count: int) -> list[Value]:
        """Take values from the stack, the lowest first."""
        if count == 0:
            return []
        taken = self.stack[-count:]
        del self.stack[-count:]
        return [NOTHING] * (count - len(taken)) + taken

    def level(self, height: int) -> None:
        """Bring the stack to its height, should a step have left it at another."""
        wanted = max(0, height)
        if len(self.stack) > wanted:
            del self.stack[wanted:]
        else:
            self.stack.extend([NOTHING] * (wanted - len(self.stack)))

    def caught(self, height: int) -> State:
        """Return that of a handler, on a stack of such a height with the exception on it."""
        stack = [*self.stack[:height], *[NOTHING] * (height - len(self.stack)), NOTHING]
        return State(stack, self.variables)

    def join(self, other: State) -> bool:
        """Take in what holds on another path; whether that was news."""
        news = False
        for place, value in enumerate(other.stack[: len(self.stack)]):
            if not value <= self.stack[place]:
                news = self._widen(self.stack, place, value) or news
        for name, value in other.variables.items():
            known = self.variables.get(name, NOTHING)
            if not value <= known:
                news = self._widen(self.variables, name, value) or news
        return news

    @staticmethod
    def _widen(held: Any, place: Any, value: Value) -> bool:
        known: Value = held[place] if isinstance(held, list) else held.get(place, NOTHING)
        held[place] = wide = widened(known | value)
        return wide != known


class Paths:
    """The paths through a piece of code.

    Args:
        code: the code.

    """

    def __init__(self, code: CodeType) -> None:
        """List the instructions."""
        self._code = code
        self._instructions: list[dis.Instruction] = []
        # By offset: which of them is there.
        self._places: dict[int, int] = {}
        for instruction in dis.get_instructions(code):
            # A jump may lead to what only extends the argument of the next.
            self._places[instruction.offset] = len(self._instructions)
            if instruction.opname not in ("CACHE", "EXTENDED_ARG"):
                self._instructions.append(instruction)

    def __len__(self) -> int:
        """Tell how many instructions there are."""
        return len(self._instructions)

    @cached_property
    def constants(self) -> dict[int, tuple[Any, Any]]:
        """The two constants that were loaded just before an instruction, by its offset."""
        found = {}
        for place, instruction in enumerate(self._instructions):
            if instruction.opname in ("CALL_KW", "IMPORT_NAME"):
                before = [None, None, *self._instructions[:place]][-2:]
                first, second = (None if i is None else i.argval for i in before)
                found[instruction.offset] = first, second
        return found

    @cached_property
    def _handlers(self) -> dict[int, tuple[int, int]]:
        """The place of the handler of each instruction, and the height of the stack there."""
        found: dict[int, tuple[int, int]] = {}
        for entry in getattr(dis.Bytecode(self._code), "exception_entries", ()):
            for place, instruction in enumerate(self._instructions):
                if entry.start <= instruction.offset < entry.end and entry.target in self._places:
                    found[place] = self._places[entry.target], entry.depth + entry.lasti
        return found

    @cached_property
    def _targets(self) -> set[int]:
        return {self._places[i.argval] for i in self._instructions if i.opcode in JUMPS}

    def follow(
        self, variables: dict[str, Value], step: Callable[[dis.Instruction, State], None]
    ) -> None:
        """Go every way, until none brings anything new.

        Args:
            variables: what they refer to at the start.
            step: does what an instruction does to the state before it.

        """
        instructions, handlers, targets = self._instructions, self._handlers, self._targets
        states: dict[int, State] = {0: State([], variables.copy())}
        todo = [0]

        def reach(place: int, state: State) -> None:
            known = states.get(place)
            if known is None:
                states[place] = state.copy()
                todo.append(place)
            elif known.join(state):
                todo.append(place)

        while todo:
            place = todo.pop()
            state = states[place].copy()
            while place < len(instructions):
                instruction = instructions[place]
                handler = handlers.get(place)
                if handler is not None:
                    reach(handler[0], state.caught(handler[1]))
                height = len(state.stack)
                if instruction.opcode in JUMPS:
                    jumped = state.copy()
                    jumped.level(height + stack_effect(instruction, jump=True))
                    reach(self._places[instruction.argval], jumped)
                step(instruction, state)
                state.level(height + stack_effect(instruction))
                if handler is not None:
                    reach(handler[0], state.caught(handler[1]))
                if instruction.opname in _ENDS:
                    break
                place += 1
                if place in targets:
                    reach(place, state)
                    break


def stack_effect(instruction: dis.Instruction, *, jump: bool = False) -> int:
    """Tell by how much an instruction moves the stack, where it jumps or goes on."""
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
