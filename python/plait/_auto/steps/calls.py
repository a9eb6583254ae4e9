"""Steps that make functions, and call."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

from plait._auto.paths import State, stack_effect
from plait._auto.steps.table import Steps
from plait._auto.values import NOTHING, NULL, Value

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["STEPS"]

STEPS = Steps()


@STEPS.of("MAKE_FUNCTION")
def _make_function(reader: Reader, i: dis.Instruction, state: State) -> None:
    (code,) = state.pops(1)
    if sys.version_info < (3, 13):
        flags = i.arg or 0
        reader.note_defaults(code, NOTHING.union(*state.pops((flags & 0x0F).bit_count())))
    state.stack.append(code)


@STEPS.of("SET_FUNCTION_ATTRIBUTE")
def _set_function_attribute(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, function = state.pops(2)
    reader.note_defaults(function, value)
    state.stack.append(function)


@STEPS.of("KW_NAMES")
def _keywords(reader: Reader, i: dis.Instruction, state: State) -> None:
    names = i.argval
    if not isinstance(names, tuple):
        names = reader.code.co_consts[i.arg or 0]
    reader.keywords = names


@STEPS.of("CALL", "CALL_KW")
def _call(reader: Reader, i: dis.Instruction, state: State) -> None:
    names, reader.keywords = reader.keywords, ()
    if i.opname == "CALL_KW":
        state.pops(1)
        names = reader.constants[i.offset][1]
    arguments = state.pops(i.arg or 0)
    callee, owner = _callee(*state.pops(2))
    count = len(arguments) - len(names)
    keywords = dict(zip(names, arguments[count:], strict=True))
    state.stack.append(
        reader.program.callees.call(reader, callee, [*owner, *arguments[:count]], keywords)
    )


@STEPS.of("CALL_FUNCTION_EX")
def _call_unpacked(reader: Reader, i: dis.Instruction, state: State) -> None:
    effect = stack_effect(i)
    # The function and what is no object, the arguments, perhaps the keywords.
    parts = state.pops(1 - effect)
    callee, _ = _callee(*parts[:2])
    if all(part == NULL for part in parts[:2]):
        callee = NOTHING
    rest = NOTHING.union(*(reader.inside(part - NULL) for part in parts[2:]))
    state.stack.append(reader.program.callees.call(reader, callee, [], {}, rest))


def _callee(first: Value, second: Value) -> tuple[Value, list[Value]]:
    """Tell the function from the object that it is a method of, on the stack of any version."""
    if first == NULL:
        return second, []
    if second == NULL:
        return first, []
    return first, [second]
