"""Functions as users write them, called plainly and by plait, and what their calls leave behind.

Each is alone in a module of its own: what else a module holds tells of its functions, too.
"""

import asyncio
import contextlib
import contextvars
import decimal
import importlib
import io
import json
import operator
import os
import random
import re
import sqlite3
import sys
import threading
import types
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy
from taking import outcomes

import plait

__all__ = ["WAYS", "Case", "cases_of", "outcome", "plainly"]

COUNT = 12


class Case(NamedTuple):
    """A module whose function is `f`; where it has `items()`, these are the arguments.

    Attributes:
        name: What it is called.
        place: Where its calls belong: "here", one after another; "this thread", and no other is
            right; "this process", "anywhere"; or "" where that changes.
        source: The module.
        before: A statement that comes before all calls; `m` is the module.
        between: Another, which comes between two batches of them.
    """

    name: str
    place: str
    source: str
    before: str
    between: str

    @property
    def module(self):
        return f"unchanged_{self.name}"

    def allows(self, way):
        """Whether it is promised for that way."""
        if self.place == "this thread":
            # Nothing blocks a loop: its calls are made in another one.
            return way not in BESIDE_A_LOOP
        return way in ONE_BY_ONE or not self.name.startswith("input_")


def cases_of(text):
    """Split a text at lines such as `--- name: here | m.x = 1 | m.x = 2`."""
    found = []
    for part in re.split(r"^--- ", text, flags=re.MULTILINE)[1:]:
        head, source = part.split("\n", 1)
        title, before, between = (*map(str.strip, head.split("|")), "", "")[:3]
        name, _, place = title.partition(":")
        found.append(Case(name, place.strip(), source, before, between))
    return found


# -- ways to call a function on items -------------------------------------------


def plainly(fn, items):
    return outcomes(map(fn, items))


def by_map(fn, items):
    return outcomes(plait.map(fn, items))


def by_submit(fn, items):
    """Submit and wait, one by one."""

    def call(item):
        return _result(plait.submit(fn, item, on="auto"))

    return outcomes(map(call, items))


def at_once(fn, items):
    """Submit all, and then wait for all."""
    futures = [plait.submit(fn, item, on="auto") for item in items]
    return outcomes(map(_result, futures))


def in_coroutine(fn, items):
    async def main():
        return [x async for x in plait.map(fn, items, return_exceptions=True)]

    return plait.run(main())


def gathered(fn, items):
    """Submit all from a coroutine, and await them together."""

    async def main():
        futures = [plait.submit(fn, item, on="auto") for item in items]
        return await asyncio.gather(*futures, return_exceptions=True)

    return plait.run(main())


WAYS = {
    "map": by_map,
    "submit": by_submit,
    "at_once": at_once,
    "in_coroutine": in_coroutine,
    "gathered": gathered,
}
# Those that take an item when the call before it has ended; those that call beside a loop.
ONE_BY_ONE = ("map", "submit", "in_coroutine")
BESIDE_A_LOOP = ("in_coroutine", "gathered")


def _result(future):
    return future.result(60)


# -- what comes of it -----------------------------------------------------------


def outcome(case, way):
    """Call the function of a case on its items, twice; return what can be told of the end.

    Returns:
        The function, and what is the same for two runs that are the same to their user: results,
        items and globals, with what is one object in several of these.

    """
    sys.modules.pop(case.module, None)
    importlib.invalidate_caches()
    with _restored():
        module = importlib.import_module(case.module)
        make = getattr(module, "items", lambda: list(range(COUNT)))
        items, results = [], []
        for batch in range(2):
            exec(case.between if batch else case.before, {"m": module})
            items.append(make())
            results.append(way(module.f, items[-1]))
        told = Teller()
        end = {
            "items": told(items),
            "results": told(results),
            "globals": told({k: v for k, v in vars(module).items() if not k.startswith("__")}),
            "outside": _outside(),
        }
        for value in vars(module).values():
            if isinstance(value, io.IOBase | sqlite3.Connection):
                value.close()
    return module.f, end


@contextlib.contextmanager
def _restored():
    """Have every run find the same, and leave nothing for others."""
    stdout = sys.stdout
    environment, folder, attributes = dict(os.environ), os.getcwd(), set(vars(sys))
    dumps, limit, digits = json.dumps, sys.getrecursionlimit(), sys.get_int_max_str_digits()
    state, context = random.getstate(), decimal.getcontext().copy()
    random.seed(1)
    numpy.random.seed(1)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        json.dumps, sys.stdout = dumps, stdout
        sys.setrecursionlimit(limit)
        sys.set_int_max_str_digits(digits)
        for name in set(vars(sys)) - attributes:
            delattr(sys, name)
        random.setstate(state)
        decimal.setcontext(context)


def _outside():
    """List what programs change beside their globals."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    state = numpy.random.get_state()[1].tobytes()
    context = str(decimal.getcontext())
    return (
        random.getstate(),
        state,
        context,
        environment,
        os.getcwd(),
        sys.path[:],
        vars(sys).get("unchanged"),
    )


class Teller:
    """Tells of values in a form that can be compared, with what is one object and what is two."""

    def __init__(self):
        self._seen = {}

    def __call__(self, value, depth=12):
        if value is None or isinstance(value, int | float | complex | str | bytes | type(...)):
            return value if type(value) in (int, str, bytes) else repr(value)
        if isinstance(value, tuple):
            # Nobody can tell a copy from it.
            return (type(value).__name__, *[self(one, depth - 1) for one in value])
        known = self._seen.get(id(value))
        if known is not None:
            return known[1]
        if depth == 0:
            return "..."
        self._seen[id(value)] = value, f"<{len(self._seen)}>"
        parts = [self(part, depth - 1) for part in self._parts(value)]
        return self._seen[id(value)][1], type(value).__qualname__, *parts

    def _parts(self, value):
        """List what matters of an object."""
        kind = type(value)
        parts = next((parts for base, parts in _PARTS.items() if isinstance(value, base)), None)
        if parts is not None:
            return parts(value)
        if kind.__module__.partition(".")[0] == "numpy":
            bits = getattr(value, "bit_generator", None)
            return [str(value.tolist() if bits is None else bits.state)]
        found = []
        if isinstance(value, Mapping):
            found.append([(key, value[key]) for key in list(value)])
        elif isinstance(value, AbstractSet):
            found.append(sorted(map(repr, value)))
        elif isinstance(value, list | bytearray) or kind.__name__ in ("deque", "array"):
            found.append(tuple(value))
        elif hasattr(kind, "__next__"):
            found.append(operator.length_hint(value, -1))
        if hasattr(value, "__dict__"):
            found.append(sorted(vars(value).items()))
        elif not found:
            found.append(re.sub("0x[0-9a-f]+", "", repr(value)))
        return found


def _of_function(fn):
    cells = []
    for cell in fn.__closure__ or ():
        with contextlib.suppress(ValueError):
            cells.append(cell.cell_contents)
    return [fn.__qualname__, fn.__defaults__, fn.__kwdefaults__, vars(fn), tuple(cells)]


def _of_class(cls):
    if not cls.__module__.startswith("unchanged_"):
        return [cls.__qualname__]
    data = [(k, v) for k, v in sorted(vars(cls).items()) if not k.startswith("__")]
    return [cls.__qualname__, data]


def _of_generator(generator):
    frame = generator.gi_frame
    return ["over"] if frame is None else [frame.f_lineno, sorted(frame.f_locals.items())]


_PARTS = {
    types.ModuleType: lambda module: [module.__name__],
    types.FunctionType: _of_function,
    types.GeneratorType: _of_generator,
    type: _of_class,
    BaseException: lambda error: [error.args],
    io.StringIO: lambda file: [file.getvalue()],
    io.IOBase: lambda file: [file.closed or file.tell()],
    sqlite3.Connection: lambda connection: [list(connection.iterdump())],
    threading.local: lambda local: [sorted(vars(local).items())],
    contextvars.ContextVar: lambda variable: [variable.get(None)],
    random.Random: lambda generator: [hash(generator.getstate())],
    types.MethodType: lambda method: [method.__func__, method.__self__],
    property: lambda found: [found.fget],
    staticmethod: lambda found: [found.__func__],
    classmethod: lambda found: [found.__func__],
    decimal.Decimal: lambda number: [str(number)],
}
