"""The parent's side: calls become images and bytes."""

from __future__ import annotations

import graphlib
import io
import itertools
import sys
import threading
import types
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plait._pickling.pickler import MISSING, Pickler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Call", "Image", "Outbound", "describe"]

# Names that every `__main__` has of its own.
_OWN = frozenset({"__builtins__", "__loader__", "__name__", "__package__", "__spec__"})
# What a closure may hold and be sent once: it cannot change behind our back.
_CONSTANT = (
    type(None), bool, int, float, complex, str, bytes, type,
    types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
)  # fmt: skip

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Image:
    """Something that a worker gets once: the value of a name, or a function to call."""

    id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One task, ready to travel.

    Attributes:
        images: What the worker must have, in the order in which it must get it.
        target: The id of the image that is called.
        data: The pickled arguments.

    """

    images: tuple[Image, ...]
    target: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Dump:
    """A pickle, and what it asks of the reader's `__main__`."""

    data: bytes
    needs: frozenset[str]
    uses: frozenset[str]


@dataclass(slots=True)
class _Name:
    """What is known of one name of `__main__`: the value it had when it was sent."""

    value: Any
    image: Image
    needs: frozenset[str]
    uses: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Target:
    """A function that was sent, and what must still be so for it to be sent no more."""

    images: tuple[Image, ...]
    names: tuple[tuple[str, Any], ...]
    cells: tuple[Any, ...]

    def is_valid(self, function: types.FunctionType, main: Mapping[str, Any]) -> bool:
        return all(main.get(name, MISSING) is value for name, value in self.names) and all(
            cell is now for cell, now in zip(self.cells, _cells(function), strict=True)
        )


def describe(function: Any) -> str:
    """Return what a message calls a function."""
    name = getattr(function, "__qualname__", None)
    if name is None:
        return repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else str(name)


def apply(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function that came as an argument: one whose state may change."""
    return function(*args, **kwargs)


def _cells(function: types.FunctionType) -> tuple[Any, ...]:
    contents = []
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            contents.append(MISSING)
    return tuple(contents)


def _is_constant(function: Any) -> bool:
    """Whether a callable stays what it is, so that sending it once is enough."""
    if not isinstance(function, types.FunctionType):
        return False
    return all(isinstance(content, _CONSTANT) for content in _cells(function))


def _dump(obj: Any, roots: frozenset[str] = frozenset()) -> _Dump:
    file = io.BytesIO()
    pickler = Pickler(file, roots)
    pickler.dump(obj)
    return _Dump(file.getvalue(), frozenset(pickler.needs), frozenset(pickler.uses))


class Outbound:
    """Turns calls into what a pool's workers understand. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._names: dict[str, _Name] = {}
        self._targets: weakref.WeakKeyDictionary[types.FunctionType, _Target] = (
            weakref.WeakKeyDictionary()
        )

    def encode_call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call:
        """Pickle a call.

        Raises:
            Exception: What the pickler raises of the function, an argument or a
                global that they use, with a note that says which.

        """
        with self._lock:
            if _is_constant(function):
                target = self._target(function)  # type: ignore[arg-type]
            else:
                args = (function, *args)
                target = self._target(apply)  # type: ignore[arg-type]
            try:
                dump = _dump((args, kwargs))
            except Exception as error:
                _blame_argument(error, function, args, kwargs)
                raise
            images = target.images
            if dump.needs or dump.uses:
                ready = {image.id for image in images}
                found, _ = self._images(
                    dump.needs | dump.uses, f"an argument of {describe(function)}"
                )
                images = (*(image for image in found if image.id not in ready), *images)
            return Call(images, target.images[-1].id, dump.data)

    def _target(self, function: types.FunctionType) -> _Target:
        main = vars(sys.modules["__main__"])
        known = self._targets.get(function)
        if known is not None and known.is_valid(function, main):
            return known
        try:
            dump = _dump(function)
        except Exception as error:
            error.add_note(f"plait: the function {describe(function)} cannot be sent to a process")
            raise
        needed, names = self._images(dump.needs | dump.uses, describe(function))
        whole = _dump(("target", [image.id for image in needed], function))
        image = Image(next(_ids), whole.data)
        target = _Target((*needed, image), names, _cells(function))
        self._targets[function] = target
        return target

    def _images(
        self, wanted: Iterable[str], user: str
    ) -> tuple[list[Image], tuple[tuple[str, Any], ...]]:
        """Return the images of all names that `wanted` leads to, and their values.

        An image that is needed to read another comes before it.
        """
        main = vars(sys.modules["__main__"])
        names: dict[str, Any] = {}
        queue = [name for name in wanted if name not in _OWN]
        while queue:
            name = queue.pop()
            if name in names:
                continue
            value = names[name] = main.get(name, MISSING)
            if value is MISSING:  # a builtin, or not bound yet: looked for again next time
                continue
            known = self._names.get(name)
            if known is None or known.value is not value:
                known = self._names[name] = self._encode((name,), value, user)
            queue += [need for need in known.needs | known.uses if need not in _OWN]
        bound = [name for name, value in names.items() if value is not MISSING]
        order = self._order(bound, user)
        images = dict.fromkeys(self._names[name].image for name in order)
        return list(images), tuple(names.items())

    def _encode(self, group: tuple[str, ...], value: Any, user: str) -> _Name:
        """Make the image of names that must be read together; mostly of one."""
        main = vars(sys.modules["__main__"])
        values = {name: main[name] for name in group}
        try:
            dump = _dump(("names", values), frozenset(group))
        except Exception as error:
            listed = ", ".join(group)
            error.add_note(
                f"plait: the global {listed} of __main__, which {user} uses, cannot be sent to a "
                "process; make it inside the function or in an initializer"
            )
            raise
        image = Image(next(_ids), dump.data)
        return _Name(value, image, dump.needs - set(group), dump.uses)

    def _order(self, names: list[str], user: str) -> list[str]:
        """Sort names so that what is needed comes first.

        Classes that hold each other (a base class with a register of its
        subclasses, say) need each other: they are put into one image.
        """
        while True:
            graph = {name: self._names[name].needs & set(names) for name in names}
            try:
                return list(graphlib.TopologicalSorter(graph).static_order())
            except graphlib.CycleError as error:
                cycle: set[str] = set(error.args[1])
            group = set(cycle)
            for name in cycle:
                shared = self._names[name].image
                group |= {other for other in names if self._names[other].image is shared}
            members = tuple(sorted(group))
            together = self._encode(members, None, user)
            main = vars(sys.modules["__main__"])
            for name in members:
                self._names[name] = _Name(main[name], together.image, together.needs, together.uses)


def _blame_argument(
    error: BaseException, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Note which argument cannot be pickled: found by trying each alone."""
    named = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    for label, value in named:
        try:
            _dump(value)
        except Exception:
            if value is function:
                error.add_note(
                    f"plait: the function {describe(function)} cannot be sent to a process"
                )
            else:
                error.add_note(
                    f"plait: {label} of {describe(function)}, of type {type(value).__qualname__}, "
                    "cannot be sent to a process"
                )
            return
