"""Steps that look into objects, change them, or put new ones together."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

from plait._auto.paths import State
from plait._auto.steps.table import Steps
from plait._auto.values import NOTHING, NULL, Fresh, Method, Super, called

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["STEPS"]

STEPS = Steps()


@STEPS.of("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    (owner,) = state.pops(1)
    is_method = i.opname == "LOAD_METHOD" or (sys.version_info >= (3, 12) and (i.arg or 0) & 1)
    value = reader.program.objects.attributes(reader, owner, i.argval, is_called=bool(is_method))
    state.stack += [value, NULL] if is_method else [value]


@STEPS.of("LOAD_SUPER_ATTR")
def _load_super_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    _, after, owner = state.pops(3)
    is_method = bool((i.arg or 0) & 1)
    value = reader.program.objects.attributes(
        reader, frozenset({Super(after, owner)}), i.argval, is_called=is_method
    )
    state.stack += [value, NULL] if is_method else [value]


@STEPS.of("STORE_ATTR")
def _store_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner = state.pops(2)
    reader.program.objects.set_attribute(reader, owner, i.argval, value)


@STEPS.of("DELETE_ATTR")
def _delete_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    (owner,) = state.pops(1)
    reader.program.objects.delete_attribute(reader, owner, i.argval)


@STEPS.of("STORE_SUBSCR")
def _store_item(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner, key = state.pops(3)
    reader.program.objects.run(reader, owner, "__setitem__", [key, value])
    reader.write(owner, f"sets an item of {called(owner)}", value)


@STEPS.of("DELETE_SUBSCR")
def _delete_item(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, key = state.pops(2)
    reader.program.objects.run(reader, owner, "__delitem__", [key])
    reader.write(owner, f"deletes an item of {called(owner)}")


@STEPS.of("STORE_SLICE")
def _store_slice(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner, _, _ = state.pops(4)
    reader.program.objects.run(reader, owner, "__setitem__", [NOTHING, value])
    reader.write(owner, f"sets items of {called(owner)}", reader.inside(value))


@STEPS.of("BINARY_SUBSCR")
def _item(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, key = state.pops(2)
    state.stack.append(reader.program.objects.item(reader, owner, key))


@STEPS.of("BINARY_SLICE")
def _slice(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, _, _ = state.pops(3)
    state.stack.append(reader.inside(owner))


@STEPS.of("BINARY_OP")
def _binary(reader: Reader, i: dis.Instruction, state: State) -> None:
    left, right = state.pops(2)
    if i.argrepr == "[]":
        state.stack.append(reader.program.objects.item(reader, left, right))
    elif i.argrepr.endswith("="):
        method = _IN_PLACE.get(i.argrepr)
        if method is not None:
            reader.program.objects.run(reader, left, method, [right])
        reader.write(left, f"changes {called(left)} by `{i.argrepr}`", reader.inside(right))
        # The same object, or a new one where it cannot be changed.
        state.stack.append(left)
    else:
        # `a + b` of two lists has what both have.
        inside = reader.inside(left) | reader.inside(right)
        state.stack.append(reader.fresh(inside, mark=1) if i.argrepr in "+|&-^*" else NOTHING)


_IN_PLACE = {
    "+=": "__iadd__",
    "-=": "__isub__",
    "*=": "__imul__",
    "@=": "__imatmul__",
    "/=": "__itruediv__",
    "//=": "__ifloordiv__",
    "%=": "__imod__",
    "**=": "__ipow__",
    "<<=": "__ilshift__",
    ">>=": "__irshift__",
    "&=": "__iand__",
    "^=": "__ixor__",
    "|=": "__ior__",
}


@STEPS.of("UNPACK_SEQUENCE")
def _unpack(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    # The last is on top of the stack first.
    state.stack += [reader.at(value, f"[{place}]") for place in reversed(range(i.arg or 0))]


@STEPS.of("UNPACK_EX")
def _unpack_rest(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    argument, inside = i.arg or 0, reader.inside(value)
    parts = [inside] * ((argument & 0xFF) + 1 + (argument >> 8))
    # What takes the rest is a list of its own.
    parts[argument >> 8] = reader.fresh(inside)
    state.stack += parts


@STEPS.of("GET_ITER", "GET_AITER", "GET_YIELD_FROM_ITER")
def _iterate(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    kept = frozenset(root for root in value if type(root) is not Fresh)
    state.stack.append(kept | reader.fresh(reader.inside(value)))


@STEPS.of("FOR_ITER", "FOR_ITER_RANGE")
def _next(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(reader.inside(state.stack[-1]) if state.stack else NOTHING)


@STEPS.of("BEFORE_WITH", "BEFORE_ASYNC_WITH")
def _enter(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    reader.program.callees.enter(reader, value, is_async=i.opname == "BEFORE_ASYNC_WITH")
    state.stack += [NOTHING, value | reader.inside(value)]


@STEPS.of("LOAD_SPECIAL")
def _special(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    name = i.argval if isinstance(i.argval, str) else "__enter__"
    state.stack += [frozenset({Method(name, value)}), NULL]


@STEPS.of("BUILD_LIST", "BUILD_TUPLE", "BUILD_SET", "BUILD_MAP", "BUILD_CONST_KEY_MAP")
def _build(reader: Reader, i: dis.Instruction, state: State) -> None:
    count = i.arg or 0
    if i.opname == "BUILD_MAP":
        count *= 2
    elif i.opname == "BUILD_CONST_KEY_MAP":
        count += 1
    parts = state.pops(count)
    if i.opname == "BUILD_TUPLE":
        found = reader.fresh()
        for root in found:
            if type(root) is Fresh:
                for place, part in enumerate(parts):
                    reader.put(root, part, f"[{place}]")
    else:
        found = reader.fresh(NOTHING.union(*parts))
    state.stack.append(found)


@STEPS.of("MATCH_KEYS")
def _match_keys(reader: Reader, i: dis.Instruction, state: State) -> None:
    subject = state.stack[-2] if len(state.stack) > 1 else NOTHING
    state.stack.append(reader.fresh(reader.inside(subject)))


@STEPS.of("MATCH_CLASS")
def _match_class(reader: Reader, i: dis.Instruction, state: State) -> None:
    subject, _, _ = state.pops(3)
    state.stack.append(reader.fresh(reader.inside(subject)))


@STEPS.of("LIST_APPEND", "SET_ADD", "MAP_ADD")
@STEPS.of("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE")
def _collect(reader: Reader, i: dis.Instruction, state: State) -> None:
    stored = NOTHING.union(*state.pops(2 if i.opname == "MAP_ADD" else 1))
    if i.opname not in ("LIST_APPEND", "SET_ADD", "MAP_ADD"):
        stored = reader.inside(stored)
    depth = i.arg or 1
    for root in state.stack[-depth] if depth <= len(state.stack) else ():
        if type(root) is Fresh:
            reader.put(root, stored)
