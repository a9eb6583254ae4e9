"""Steps that find what a name or a constant is, and bind names."""

from __future__ import annotations

import builtins
import dis
import sys
from types import CodeType
from typing import TYPE_CHECKING

from plait._auto.paths import State
from plait._auto.steps.table import Steps
from plait._auto.values import NOTHING, NULL, Code, Const, Known, Value

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["STEPS"]

# Names of attributes are shorter.
_NAME = 80

STEPS = Steps()


@STEPS.of(
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


@STEPS.of("STORE_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_MAYBE_NULL")
def _store_fast(reader: Reader, i: dis.Instruction, state: State) -> None:
    for name in (i.argval,) if isinstance(i.argval, str) else i.argval:
        (value,) = state.pops(1)
        if name not in reader.cells:
            state.variables[name] = value - NULL


@STEPS.of("STORE_FAST_LOAD_FAST")
def _store_load(reader: Reader, i: dis.Instruction, state: State) -> None:
    stored, loaded = i.argval
    (state.variables[stored],) = state.pops(1)
    state.stack.append(reader.load(loaded, state))


@STEPS.of("DELETE_FAST")
def _delete_fast(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.variables.pop(i.argval, None)


@STEPS.of("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(reader.variable(i.argval))


@STEPS.of("LOAD_FROM_DICT_OR_DEREF")
def _load_class_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.pops(1)
    state.stack.append(reader.variable(i.argval))


@STEPS.of("STORE_DEREF")
def _store_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    reader.bind(i.argval, value)


@STEPS.of("DELETE_DEREF")
def _delete_deref(reader: Reader, i: dis.Instruction, state: State) -> None:
    reader.bind(i.argval, NOTHING)


@STEPS.of("LOAD_GLOBAL")
def _load_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    value = reader.program.names.load_global(reader, i.argval)
    if not (i.arg or 0) & 1:
        state.stack.append(value)
    elif sys.version_info >= (3, 13):
        state.stack += [value, NULL]
    else:
        state.stack += [NULL, value]


@STEPS.of("LOAD_NAME")
def _load_name(reader: Reader, i: dis.Instruction, state: State) -> None:
    value = reader.summary.names.get(i.argval)
    state.stack.append(
        reader.program.names.load_global(reader, i.argval) if value is None else value
    )


@STEPS.of("STORE_NAME")
def _store_name(reader: Reader, i: dis.Instruction, state: State) -> None:
    (value,) = state.pops(1)
    known = reader.summary.names.get(i.argval, NOTHING)
    reader.summary.names[i.argval] = known | value


@STEPS.of("LOAD_BUILD_CLASS")
def _load_build_class(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.stack.append(frozenset({Known(builtins.__build_class__, "class")}))


@STEPS.of("LOAD_FROM_DICT_OR_GLOBALS")
def _load_class_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.pops(1)
    state.stack.append(reader.program.names.load_global(reader, i.argval))


@STEPS.of("STORE_GLOBAL", "DELETE_GLOBAL")
def _store_global(reader: Reader, i: dis.Instruction, state: State) -> None:
    if i.opname == "STORE_GLOBAL":
        state.pops(1)
    how = "binds" if i.opname == "STORE_GLOBAL" else "deletes"
    reader.write(
        frozenset({Known(reader.namespace, i.argval)}),
        f"{how} the global `{i.argval}`",
    )


@STEPS.of("LOAD_CONST", "LOAD_SMALL_INT")
def _load_const(reader: Reader, i: dis.Instruction, state: State) -> None:
    value: Value = NOTHING
    if isinstance(i.argval, CodeType):
        value = frozenset({Code(i.argval)})
    elif isinstance(i.argval, str) and len(i.argval) < _NAME and i.argval.isidentifier():
        value = frozenset({Const(i.argval)})
    state.stack.append(value)


@STEPS.of("IMPORT_NAME")
def _import(reader: Reader, i: dis.Instruction, state: State) -> None:
    state.pops(2)
    level, names = reader.constants[i.offset]
    reader.import_level = level if isinstance(level, int) else 0
    state.stack.append(reader.program.names.imported(reader, i.argval, whole=names is not None))


@STEPS.of("IMPORT_FROM")
def _import_from(reader: Reader, i: dis.Instruction, state: State) -> None:
    module = state.stack[-1] if state.stack else NOTHING
    state.stack.append(reader.program.objects.attributes(reader, module, i.argval))
