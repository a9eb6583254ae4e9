"""Calls on their way to the workers."""

import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from plait._binding import native
from plait._pickling.large import as_buffers
from plait._pickling.pickler import CACHED, dumps
from plait._pickling.placing import BY_VALUE, Key, place
from plait._pickling.sharing import Placing, Shared, adopt, write_label
from plait._task import TaskFunction, submitted_terms, terms_of

__all__ = ["Call", "Outbound", "describe"]

_MISSING = object()


class Call(NamedTuple):
    """A call that is ready to be sent."""

    # What a worker must have been told, in no particular order.
    images: tuple[native.Image, ...]
    # The number of the image that is the function; 0 if it is in `data`.
    target: int
    # What (arguments, keywords) or (function, arguments, keywords) were
    # pickled to.
    packer: native.Packer


class _Global(NamedTuple):
    """What the workers are told that a key is bound to."""

    value: object
    image: native.Image
    keys: frozenset[Key | Shared[Any]]


class _Needs(NamedTuple):
    """Everything that some keys lead to, and what it was made from."""

    images: tuple[native.Image, ...]
    bindings: tuple[tuple[Key, object], ...]

    def hold(self) -> bool:
        return all(_lookup(key) is value for key, value in self.bindings)

    def by_module(self) -> list[tuple[str, ModuleType, list[tuple[str, bool, object]]]] | None:
        """Sort the bindings by the modules that have them; None if one is no module."""
        names: dict[str, list[tuple[str, bool, object]]] = {}
        for key, value in self.bindings:
            names.setdefault(key.module, []).append((key.name, value is not _MISSING, value))
        found = []
        for name, bindings in names.items():
            module = sys.modules.get(name)
            if not isinstance(module, ModuleType):
                return None
            found.append((name, module, bindings))
        return found


class _Known(NamedTuple):
    """A function that was sent before."""

    function: "weakref.ref[Any]"
    # None: sent once, inside its call.
    needs: _Needs | None
    target: int
    # What is in it by value, to see whether it is still the same.
    contents: tuple[object, ...]


class Outbound:
    """The calls of one pool: what its workers are told, and told once."""

    def __init__(self, arena: native.Arena | None = None, limit: int | None = None) -> None:
        """Know nothing yet.

        Args:
            arena: what is large goes there.
            limit: how many bytes a global may weigh at most.

        """
        self._arena = arena
        self._limit = limit
        # Tells the handles of the pool's own shared objects from others.
        self._home = os.urandom(16)
        # What the native half finds without a look at what is in it.
        self.callees = native.Callees()
        self._globals: dict[Key, _Global] = {}
        self._functions: dict[int, _Known] = {}
        # Held for single dictionary accesses, never while anything is pickled.
        self._lock = threading.Lock()

    def encode(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Call:
        """Pickle a call.

        Raises:
            Exception: what the pickler raises for something that cannot be
                pickled, with a note that says what that is.

        """
        known = self._function(fn)
        if known is None:
            packer, keys = self._dump_call(fn, args, kwargs, inside=True)
            return Call(self._needs(keys, fn).images, 0, packer)
        packer, keys = self._dump_call(fn, args, kwargs, inside=False)
        assert known.needs is not None
        images = known.needs.images
        if keys:
            images = tuple({*images, *self._needs(keys, fn).images})
        return Call(images, known.target, packer)

    def share(
        self,
        obj: Any,
        place: Callable[[native.Packer, tuple[native.Image, ...]], native.Image],
    ) -> Shared[Any]:
        """Pickle an object once, for any number of tasks.

        Args:
            obj: the object.
            place: puts what it was pickled to, and the images that this relies on, where workers
                find it.

        Raises:
            Exception: what the pickler raises, with a note.

        """
        placing = Placing(self._arena)
        try:
            keys = dumps(obj, placing, home=self._home)
        except Exception as error:
            error.add_note(f"while pickling an object of type {type(obj).__qualname__} to share it")
            raise
        images = self._needs(keys, obj).images
        return adopt(self._home, place(placing.finish(self._home), images))

    def tell(self, key: Key) -> tuple[native.Image, ...]:
        """Make the images of a global and of everything that it leads to.

        Raises:
            Exception: what the pickler raises, with a note that says what cannot be pickled.

        """
        value: Any = _lookup(key)
        return self._needs([key], value).images

    def _dump_call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        inside: bool,
    ) -> tuple[native.Packer, set[Key | Shared[Any]]]:
        packer = native.Packer(self._arena)
        if bytes in map(type, args):
            args = tuple(as_buffers(args))
        call = (fn, args, kwargs) if inside else (args, kwargs)
        try:
            return packer, dumps(call, packer, home=self._home)
        except Exception as error:
            error.add_note(_blame(fn, args, kwargs, self._home))
            raise

    def _function(self, fn: Callable[..., Any]) -> _Known | None:
        """Return what the workers know `fn` as; None if it must travel with its call."""
        if not _is_code(fn):
            # A bound method or another object with a state of its own, which
            # may have changed since the last call.
            return None
        with self._lock:
            known = self._functions.get(id(fn))
        if known is not None and known.function() is not fn:
            known = None
        if (
            known is not None
            and known.needs is not None
            and known.needs.hold()
            and (not known.contents or _same(known.contents, _contents(fn)))
        ):
            return known
        contents: tuple[object, ...] = ()
        if place(fn) is BY_VALUE:
            found = _contents(fn)
            if found is None:
                return None
            contents = found
            if known is None or not _same(known.contents, contents):
                # Perhaps nobody sends this lambda again: then it leaves no trace.
                self._remember(fn, _Known(weakref.ref(fn), None, 0, contents))
                return None
        packer = native.Packer(self._arena)
        try:
            keys = dumps(fn, packer, home=self._home)
        except Exception as error:
            error.add_note(f"while pickling the function {describe(fn)}")
            raise
        needs = self._needs(keys, fn)
        image = _image(packer, "call", [tuple(key) for key, _ in needs.bindings])
        needs = needs._replace(images=(*needs.images, image))
        known = _Known(weakref.ref(fn), needs, image.id, contents)
        self._remember(fn, known)
        return known

    def _remember(self, fn: Any, known: _Known) -> None:
        # Bound now: at interpreter exit the globals go before the functions.
        forget = functools.partial(_forget, self._functions, self.callees, id(fn))
        known = known._replace(function=weakref.ref(fn, forget))
        with self._lock:
            self._functions[id(fn)] = known
        terms = terms_of(fn)
        # Pauses between attempts are not the native half's to make.
        rests = terms is not None and terms.rests
        if known.needs is not None and not known.contents and not rests:
            modules = known.needs.by_module()
            if modules is not None:
                images = known.needs.images
                self.callees.add(
                    known.function,
                    known.target,
                    images,
                    describe(fn),
                    submitted_terms(fn),
                    modules,
                )

    def _needs(self, keys: Iterable[Key | Shared[Any]], fn: object) -> _Needs:
        """Follow `keys` to everything that they lead to."""
        bindings: dict[Key, object] = {}
        images: list[native.Image] = []
        todo = list(keys)
        while todo:
            key = todo.pop()
            if isinstance(key, Shared):
                if key._image is not None:
                    images.append(key._image)
                continue
            if key in bindings:
                continue
            value = bindings[key] = _lookup(key)
            if value is _MISSING:
                # A builtin, or unknown there as it is here, unless it was told.
                images += self._untell(key)
                continue
            told = self._tell(key, value, fn)
            images.append(told.image)
            todo.extend(told.keys)
        return _Needs(tuple(images), tuple(bindings.items()))

    def _untell(self, key: Key) -> tuple[native.Image, ...]:
        """Make an image that has a global forgotten, if it was told."""
        with self._lock:
            told = self._globals.get(key)
        if told is None or told.value is _MISSING:
            return () if told is None else (told.image,)
        packer = native.Packer(self._arena)
        dumps(None, packer)
        made = _Global(_MISSING, _image(packer, "gone", tuple(key)), frozenset())
        with self._lock:
            self._globals[key] = made
        return (made.image,)

    def _tell(self, key: Key, value: object, fn: object) -> _Global:
        with self._lock:
            told = self._globals.get(key)
        if told is not None and told.value is value:
            return told
        packer = native.Packer(self._arena, self._limit)
        try:
            keys = dumps(value, packer, root=key, home=self._home)
        except Exception as error:
            error.add_note(
                f"while pickling the global {key.name!r} of {key.module}, "
                f"which the function {describe(fn)} uses"
            )
            raise
        image = _image(packer, "global", tuple(key))
        made = _Global(value, image, frozenset(keys))
        with self._lock:
            # Another thread may have been faster; one name has one image, or
            # a class would be two classes.
            told = self._globals.get(key)
            if told is not None and told.value is value:
                return told
            self._globals[key] = made
        return made


def _image(
    packer: native.Packer, kind: str, name: tuple[str, ...] | list[tuple[str, ...]]
) -> native.Image:
    """Make an image of what was pickled, and say what it is."""
    write_label(packer, kind, name)
    return native.Image(packer)


def describe(fn: Any) -> str:
    """Name a function for people."""
    terms = terms_of(fn)
    if terms is not None and terms.name is not None:
        return terms.name
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__qualname__", None)
    if not isinstance(name, str):
        return f"an object of type {type(fn).__qualname__}"
    module = getattr(fn, "__module__", None)
    return name if module in (None, "__main__", "builtins") else f"{module}.{name}"


def _lookup(key: Key) -> object:
    module = sys.modules.get(key.module)
    return _MISSING if module is None else vars(module).get(key.name, _MISSING)


def _forget(functions: dict[int, _Known], callees: native.Callees, key: int, gone: object) -> None:
    # Called by the collector at any point: no lock, one step each. The number
    # may be another function's by now: only the entry of this one goes.
    callees.discard(key, gone)
    known = functions.get(key)
    if known is not None and known.function is gone:
        functions.pop(key, None)


def _blame(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], home: bytes
) -> str:
    """Say which part of a call cannot be pickled, by trying them one by one."""
    parts: list[tuple[str, Any]] = [(f"the function {describe(fn)}", fn)]
    parts += [(f"argument {n} of {describe(fn)}", arg) for n, arg in enumerate(args, 1)]
    parts += [(f"argument {name!r} of {describe(fn)}", arg) for name, arg in kwargs.items()]
    for name, part in parts:
        try:
            dumps(part, native.Packer(), home=home)
        except Exception:
            return f"while pickling {name}, an object of type {type(part).__qualname__}"
    return f"while pickling the arguments of {describe(fn)}"


_FIXED = (int, float, complex, str, bytes, bool, type(None), type(...), range, ModuleType, type)


def _is_code(fn: Any) -> bool:
    """Whether `fn` is code rather than an object that happens to be callable."""
    if type(fn) is BuiltinFunctionType:
        return isinstance(fn.__self__, ModuleType)
    return type(fn) in (FunctionType, CACHED, TaskFunction) or isinstance(fn, type)


def _contents(fn: Any) -> tuple[object, ...] | None:
    """Tell what is in `fn` by value; None if that can change without a new identity."""
    if type(fn) not in (FunctionType, TaskFunction):
        return None
    found: list[object] = []
    functions: set[int] = set()
    todo: list[object] = [fn]
    while todo:
        item = todo.pop()
        if type(item) is FunctionType:
            if id(item) in functions:
                continue
            functions.add(id(item))
            # By name or by value, it is the same as long as this is.
            found.append(item.__code__)
            if place(item) is not BY_VALUE:
                continue
            todo += [*(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
            todo += item.__dict__.values()
            for cell in item.__closure__ or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:
                    todo.append(None)
        elif type(item) is TaskFunction:
            found.append(item)
            todo.append(item.__wrapped__)
        elif isinstance(item, tuple | frozenset) and type(item) in (tuple, frozenset):
            found.append(item)
            todo += item
        elif type(item) in _FIXED or isinstance(item, type | BuiltinFunctionType):
            found.append(item)
        else:
            return None
    return tuple(found)


def _same(first: tuple[object, ...], second: tuple[object, ...] | None) -> bool:
    if second is None:
        return False
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))
