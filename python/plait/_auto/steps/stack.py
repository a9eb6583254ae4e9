"""Steps that move values on the stack, hand them out, or leave nothing of them that can change."""

from __future__ import annotations

import dis
from typing import TYPE_CHECKING

from plait._auto.paths import JUMPS, State, stack_effect
from plait._auto.steps.table import Steps
from plait._auto.values import NOTHING, NULL

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["STEPS", "unknown"]

STEPS = Steps()


@STEPS.of("PUSH_NULL")
def _push_null(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(NULL)


@STEPS.of("SWAP")
def _swap(reader: Reader, i: dis.Instruction, state: State) -> None:
    stack, depth = state.stack, i.arg or 1
    if depth <= len(stack):
        stack[-1], stack[-depth] = stack[-depth], stack[-1]


@STEPS.of("COPY")
def _copy(reader: Reader, i: dis.Instruction, state: State) -> None:
    depth = i.arg or 1
    state.stack.append(state.stack[-depth] if depth <= len(state.stack) else NOTHING)


@STEPS.of("RETURN_VALUE")
def _return(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    reader.hand_out(value)


@STEPS.of("YIELD_VALUE")
def _yield(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    reader.hand_out(value)
    state.stack.append(NOTHING)


@STEPS.of("CALL_INTRINSIC_1")
def _intrinsic(reader: Reader, i: dis.Instruction, state: State) -> None:
    # INTRINSIC_LIST_TO_TUPLE, INTRINSIC_UNARY_POSITIVE, ...: the object, or one with its contents.
    pass


@STEPS.of(
    "COMPARE_OP",
    "IS_OP",
    "CONTAINS_OP",
    "UNARY_NOT",
    "UNARY_NEGATIVE",
    "UNARY_INVERT",
    "UNARY_POSITIVE",
    "TO_BOOL",
    "BUILD_STRING",
    "BUILD_SLICE",
    "FORMAT_VALUE",
    "FORMAT_SIMPLE",
    "FORMAT_WITH_SPEC",
    "CONVERT_VALUE",
)
def _plain(reader: Reader, i: dis.Instruction, state: State) -> None:
    effect = stack_effect(i)
    state.pops(1 - effect)
    state.stack.append(NOTHING)


@STEPS.of(*(dis.opname[code] for code in JUMPS if dis.opname[code] != "FOR_ITER"))
@STEPS.of(
    "NOP",
    "RESUME",
    "PRECALL",
    "MAKE_CELL",
    "COPY_FREE_VARS",
    "POP_TOP",
    "POP_EXCEPT",
    "END_FOR",
    "POP_ITER",
    "END_SEND",
    "SETUP_ANNOTATIONS",
    "PUSH_EXC_INFO",
    "CHECK_EXC_MATCH",
    "CHECK_EG_MATCH",
    "RAISE_VARARGS",
    "RERAISE",
    "LOAD_ASSERTION_ERROR",
    "LOAD_COMMON_CONSTANT",
    "GEN_START",
    "RETURN_GENERATOR",
    "ASYNC_GEN_WRAP",
    "CLEANUP_THROW",
    "NOT_TAKEN",
    "INTERPRETER_EXIT",
    "RETURN_CONST",
    "GET_LEN",
    "MATCH_MAPPING",
    "MATCH_SEQUENCE",
    "WITH_EXCEPT_START",
    "PREP_RERAISE_STAR",
)
def _level(reader: Reader, i: dis.Instruction, state: State) -> None:
    # They bring the stack to another height, and that is all.
    pass


def unknown(reader: Reader, i: dis.Instruction, state: State) -> None:
    """Give out whatever may have gone into an instruction that is not in the table."""
    effect = stack_effect(i)
    taken = state.stack[min(effect, -1) :]
    del state.stack[len(state.stack) + min(effect, 0) :]
    mixed = NOTHING.union(*taken) - NULL
    if effect <= 0 and state.stack:
        state.stack[-1] = (state.stack[-1] | mixed) - NULL
    else:
        state.stack.extend([mixed] * effect)
