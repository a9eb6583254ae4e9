"""What each instruction does to the stack and the variables; see `reading.py`."""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, TypeAlias

from plait._auto.values import (
    NOTHING,
    NULL,
    Code,
    Const,
    Fresh,
    Known,
    Method,
    Super,
    Value,
    called,
)

if TYPE_CHECKING:
    from plait._auto.reading import Reader
    from plait._auto.summary import State

    _Step: TypeAlias = Callable[[Reader, dis.Instruction, State], None]

__all__ = ["STEPS"]

STEPS: dict[str, _Step] = {}

# Names of attributes are shorter.
_NAME = 80


def _step(*names: str) -> Callable[[_Step], _Step]:
    def register(step: _Step) -> _Step:
        STEPS.update(dict.fromkeys(names, step))
        return step

    return register


# -- variables ----------------------------------------------------------------


@_step(
    "LOAD_FAST",
    "LOAD_FAST_CHECK",
    "LOAD_FAST_BORROW",
    "LOAD_FAST_AND_CLEAR",
    "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
    "LOAD_CLOSURE",
)
def _load_fast(reader: Reader, i: dis.Instruction, state: State) -> None:
    names = (i.argval,) if isinstance(i.argval, str) else i.argval
    state.stack += [reader.load(name, state) for name in names]


@_step("STORE_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_MAYBE_NULL")
def _store_fast(reader: Reader, i: dis.Instruction, state: State) -> None:
    for name in (i.argval,) if isinstance(i.argval, str) else i.argval:
        (value,) = reader.pops(state, 1)
        if name not in reader.cells:
            state.variables[name] = value - NULL


@_step("STORE_FAST_LOAD_FAST")
def _store_load(reader: Reader, i: dis.Instruction, state: State) -> None:
    stored, loaded = i.argval
    (state.variables[stored],) = reader.pops(state, 1)
    state.stack.append(reader.load(loaded, state))


@_step("DELETE_FAST")
def _delete_fast(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.variables.pop(i.argval, None)


@_step("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(reader.variable(i.argval))


@_step("LOAD_FROM_DICT_OR_DEREF")
def _load_class_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    reader.pops(state, 1)
    state.stack.append(reader.variable(i.argval))


@_step("STORE_DEREF")
def _store_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    reader.bind(i.argval, value)


@_step("DELETE_DEREF")
def _delete_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    reader.bind(i.argval, NOTHING)


@_step("LOAD_GLOBAL")
def _load_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    value = reader.program.load_global(reader, i.argval)
    if not (i.arg or 0) & 1:
        state.stack.append(value)
    elif sys.version_info >= (3, 13):
        state.stack += [value, NULL]
    else:
        state.stack += [NULL, value]


@_step("LOAD_NAME")
def _load_name(reader: Reader, i: dis.Instruction, state: State) -> None:
    value = reader.summary.names.get(i.argval)
    state.stack.append(reader.program.load_global(reader, i.argval) if value is None else value)


@_step("STORE_NAME")
def _store_name(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    known = reader.summary.names.get(i.argval, NOTHING)
    reader.summary.names[i.argval] = known | value


@_step("LOAD_BUILD_CLASS")
def _load_build_class(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(frozenset({Known(builtins.__build_class__, "class")}))


@_step("LOAD_FROM_DICT_OR_GLOBALS")
def _load_class_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    reader.pops(state, 1)
    state.stack.append(reader.program.load_global(reader, i.argval))


@_step("STORE_GLOBAL", "DELETE_GLOBAL")
def _store_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    if i.opname == "STORE_GLOBAL":
        reader.pops(state, 1)
    how = "binds" if i.opname == "STORE_GLOBAL" else "deletes"
    reader.program.store_global(reader, i.argval)
    reader.write(
        frozenset({Known(reader.namespace, i.argval)}),
        f"{how} the global `{i.argval}`",
    )


@_step("LOAD_CONST", "LOAD_SMALL_INT")
def _load_const(reader: Reader, i: dis.Instruction, state: State) -> None:
    value: Value = NOTHING
    if isinstance(i.argval, CodeType):
        value = frozenset({Code(i.argval)})
    elif isinstance(i.argval, str) and len(i.argval) < _NAME and i.argval.isidentifier():
        value = frozenset({Const(i.argval)})
    state.stack.append(value)


# -- the stack ----------------------------------------------------------------


@_step("PUSH_NULL")
def _push_null(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(NULL)


@_step("SWAP")
def _swap(reader: Reader, i: dis.Instruction, state: State) -> None:
    stack, depth = state.stack, i.arg or 1
    if depth <= len(stack):
        stack[-1], stack[-depth] = stack[-depth], stack[-1]


@_step("COPY")
def _copy(reader: Reader, i: dis.Instruction, state: State) -> None:
    depth = i.arg or 1
    state.stack.append(state.stack[-depth] if depth <= len(state.stack) else NOTHING)


@_step("RETURN_VALUE")
def _return(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    reader.hand_out(value)


@_step("YIELD_VALUE")
def _yield(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    reader.hand_out(value)
    state.stack.append(NOTHING)


# -- what is in objects -------------------------------------------------------


@_step("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    (owner,) = reader.pops(state, 1)
    is_method = i.opname == "LOAD_METHOD" or (sys.version_info >= (3, 12) and (i.arg or 0) & 1)
    value = reader.program.objects.attributes(reader, owner, i.argval, is_called=bool(is_method))
    state.stack += [value, NULL] if is_method else [value]


@_step("LOAD_SUPER_ATTR")
def _load_super_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    _, after, owner = reader.pops(state, 3)
    is_method = bool((i.arg or 0) & 1)
    value = reader.program.objects.attributes(
        reader, frozenset({Super(after, owner)}), i.argval, is_called=is_method
    )
    state.stack += [value, NULL] if is_method else [value]


@_step("STORE_ATTR")
def _store_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner = reader.pops(state, 2)
    reader.program.objects.set_attribute(reader, owner, i.argval, value)


@_step("DELETE_ATTR")
def _delete_attr(reader: Reader, i: dis.Instruction, state: State) -> None:
    (owner,) = reader.pops(state, 1)
    reader.program.objects.delete_attribute(reader, owner, i.argval)


@_step("STORE_SUBSCR")
def _store_item(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner, key = reader.pops(state, 3)
    reader.program.objects.run(reader, owner, "__setitem__", [key, value])
    reader.write(owner, f"sets an item of {called(owner)}", value)


@_step("DELETE_SUBSCR")
def _delete_item(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, key = reader.pops(state, 2)
    reader.program.objects.run(reader, owner, "__delitem__", [key])
    reader.write(owner, f"deletes an item of {called(owner)}")


@_step("STORE_SLICE")
def _store_slice(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, owner, _, _ = reader.pops(state, 4)
    reader.program.objects.run(reader, owner, "__setitem__", [NOTHING, value])
    reader.write(owner, f"sets items of {called(owner)}", reader.inside(value))


@_step("BINARY_SUBSCR")
def _item(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, key = reader.pops(state, 2)
    state.stack.append(reader.program.objects.item(reader, owner, key))


@_step("BINARY_SLICE")
def _slice(reader: Reader, i: dis.Instruction, state: State) -> None:
    owner, _, _ = reader.pops(state, 3)
    state.stack.append(reader.inside(owner))


@_step("BINARY_OP")
def _binary(reader: Reader, i: dis.Instruction, state: State) -> None:
    left, right = reader.pops(state, 2)
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


@_step("UNPACK_SEQUENCE")
def _unpack(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    # The last is on top of the stack first.
    state.stack += [reader.at(value, f"[{place}]") for place in reversed(range(i.arg or 0))]


@_step("UNPACK_EX")
def _unpack_rest(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    argument, inside = i.arg or 0, reader.inside(value)
    parts = [inside] * ((argument & 0xFF) + 1 + (argument >> 8))
    # What takes the rest is a list of its own.
    parts[argument >> 8] = reader.fresh(inside)
    state.stack += parts


@_step("GET_ITER", "GET_AITER", "GET_YIELD_FROM_ITER")
def _iterate(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    kept = frozenset(root for root in value if type(root) is not Fresh)
    state.stack.append(kept | reader.fresh(reader.inside(value)))


@_step("FOR_ITER", "FOR_ITER_RANGE")
def _next(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(reader.inside(state.stack[-1]) if state.stack else NOTHING)


@_step("BEFORE_WITH", "BEFORE_ASYNC_WITH")
def _enter(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    reader.program.enter(reader, value, is_async=i.opname == "BEFORE_ASYNC_WITH")
    state.stack += [NOTHING, value | reader.inside(value)]


@_step("LOAD_SPECIAL")
def _special(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = reader.pops(state, 1)
    name = i.argval if isinstance(i.argval, str) else "__enter__"
    state.stack += [frozenset({Method(name, value)}), NULL]


# -- what is made -------------------------------------------------------------


@_step("BUILD_LIST", "BUILD_TUPLE", "BUILD_SET", "BUILD_MAP", "BUILD_CONST_KEY_MAP")
def _build(reader: Reader, i: dis.Instruction, state: State) -> None:
    count = i.arg or 0
    if i.opname == "BUILD_MAP":
        count *= 2
    elif i.opname == "BUILD_CONST_KEY_MAP":
        count += 1
    parts = reader.pops(state, count)
    if i.opname == "BUILD_TUPLE":
        found = reader.fresh()
        for root in found:
            if type(root) is Fresh:
                for place, part in enumerate(parts):
                    reader.put(root, part, f"[{place}]")
    else:
        found = reader.fresh(NOTHING.union(*parts))
    state.stack.append(found)


@_step("MATCH_KEYS")
def _match_keys(reader: Reader, i: dis.Instruction, state: State) -> None:
    subject = state.stack[-2] if len(state.stack) > 1 else NOTHING
    state.stack.append(reader.fresh(reader.inside(subject)))


@_step("MATCH_CLASS")
def _match_class(reader: Reader, i: dis.Instruction, state: State) -> None:
    subject, _, _ = reader.pops(state, 3)
    state.stack.append(reader.fresh(reader.inside(subject)))


@_step("LIST_APPEND", "SET_ADD", "MAP_ADD")
@_step("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE")
def _collect(reader: Reader, i: dis.Instruction, state: State) -> None:
    stored = NOTHING.union(*reader.pops(state, 2 if i.opname == "MAP_ADD" else 1))
    if i.opname not in ("LIST_APPEND", "SET_ADD", "MAP_ADD"):
        stored = reader.inside(stored)
    depth = i.arg or 1
    for root in state.stack[-depth] if depth <= len(state.stack) else ():
        if type(root) is Fresh:
            reader.put(root, stored)


@_step("CALL_INTRINSIC_1")
def _intrinsic(reader: Reader, i: dis.Instruction, state: State) -> None:
    # INTRINSIC_LIST_TO_TUPLE, INTRINSIC_UNARY_POSITIVE, ...: the object, or one with its contents.
    pass


@_step(
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
    effect = dis.stack_effect(i.opcode, i.arg if i.opcode >= dis.HAVE_ARGUMENT else None)
    reader.pops(state, 1 - effect)
    state.stack.append(NOTHING)


# -- imports ------------------------------------------------------------------


@_step("IMPORT_NAME")
def _import(reader: Reader, i: dis.Instruction, state: State) -> None:
    reader.pops(state, 2)
    level, names = reader.constants[i.offset]
    reader.import_level = level if isinstance(level, int) else 0
    state.stack.append(reader.program.imported(reader, i.argval, whole=names is not None))


@_step("IMPORT_FROM")
def _import_from(reader: Reader, i: dis.Instruction, state: State) -> None:
    module = state.stack[-1] if state.stack else NOTHING
    state.stack.append(reader.program.objects.attributes(reader, module, i.argval))


# -- functions and calls ------------------------------------------------------


@_step("MAKE_FUNCTION")
def _make_function(reader: Reader, i: dis.Instruction, state: State) -> None:
    (code,) = reader.pops(state, 1)
    if sys.version_info < (3, 13):
        flags = i.arg or 0
        reader.note_defaults(code, NOTHING.union(*reader.pops(state, (flags & 0x0F).bit_count())))
    state.stack.append(code)


@_step("SET_FUNCTION_ATTRIBUTE")
def _set_function_attribute(reader: Reader, i: dis.Instruction, state: State) -> None:
    value, function = reader.pops(state, 2)
    reader.note_defaults(function, value)
    state.stack.append(function)


@_step("KW_NAMES")
def _keywords(reader: Reader, i: dis.Instruction, state: State) -> None:
    names = i.argval
    if not isinstance(names, tuple):
        names = reader.code.co_consts[i.arg or 0]
    reader.keywords = names


@_step("CALL", "CALL_KW")
def _call(reader: Reader, i: dis.Instruction, state: State) -> None:
    names, reader.keywords = reader.keywords, ()
    if i.opname == "CALL_KW":
        reader.pops(state, 1)
        names = reader.constants[i.offset][1]
    arguments = reader.pops(state, i.arg or 0)
    callee, owner = _callee(*reader.pops(state, 2))
    count = len(arguments) - len(names)
    keywords = dict(zip(names, arguments[count:], strict=True))
    state.stack.append(reader.program.call(reader, callee, [*owner, *arguments[:count]], keywords))


@_step("CALL_FUNCTION_EX")
def _call_unpacked(reader: Reader, i: dis.Instruction, state: State) -> None:
    effect = dis.stack_effect(i.opcode, i.arg if i.opcode >= dis.HAVE_ARGUMENT else None)
    # The function and what is no object, the arguments, perhaps the keywords.
    parts = reader.pops(state, 1 - effect)
    callee, _ = _callee(*parts[:2])
    if all(part == NULL for part in parts[:2]):
        callee = NOTHING
    rest = NOTHING.union(*(reader.inside(part - NULL) for part in parts[2:]))
    state.stack.append(reader.program.call(reader, callee, [], {}, rest))


def _callee(first: Value, second: Value) -> tuple[Value, list[Value]]:
    """Tell the function from the object that it is a method of, on the stack of any version."""
    if first == NULL:
        return second, []
    if second == NULL:
        return first, []
    return first, [second]
