"""The worker's side: namespaces, images, running."""

import builtins
import io
import pickle
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait._binding import native
from plait._pickling import sharing
from plait._pickling.rebuild import draw_by, made_before, namespace
from plait._pickling.results import (
    encode_failure,
    encode_value,
    forget_our_frame,
    format_failure,
    unpicklable,
)
from plait._task import TaskFunction, terms_of
from plait._worker.chunk import CHUNK, run_chunk, salvage
from plait._worker.protocol import GOES_ON, RAISED, RAISED_TO_RETRY, RETURNED

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Inbound"]

_Key = tuple[str, str]
# A pickle, and the buffers that the pickler left out of it.
_Pickle = tuple["Buffer", list[native.Block]]
_Classes = tuple[type[BaseException], ...]
# A coroutine, the exceptions upon which to try again, and what its result is written to.
_Coroutine = tuple[Coroutine[Any, Any, Any], _Classes, native.Packer]
_Answer = tuple[int, native.Packer | bytes | _Coroutine]


class Inbound:
    """What this worker has been told, and the tasks that rely on it.

    Images are only stored when they come. Before a task all new ones are
    loaded, each drawing in those that it names, so that their order does not
    matter and cycles are no trouble.
    """

    def __init__(self, main_file: str | None, main_package: str | None) -> None:
        """Make the namespace that stands for the program's `__main__`."""
        main = ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        if main_file is not None:
            main.__file__ = main_file
        # Relative imports inside of functions look at it.
        main.__package__ = main_package
        sys.modules["__main__"] = main
        draw_by(self.draw)
        # Whether the tasks are those of a `plait.Pool`.
        self.as_pool = False
        # Whether tasks that are coroutines run beside others.
        self.several = False
        # Of the worker, for what is to be said before an answer.
        self.channel: native.Worker | None = None
        # None: it is gone.
        self._new: dict[_Key, _Pickle | None] = {}
        # Globals that were told, as opposed to set by code of the worker.
        self._told: set[_Key] = set()
        self._failed: dict[_Key, BaseException] = {}
        self._loading: dict[_Key, _Pickle] = {}
        self._functions: dict[int, tuple[list[_Key], Callable[..., Any] | _Pickle]] = {}

    def add_image(self, number: int, data: "Buffer", buffers: list[native.Block]) -> None:
        """Keep what the pool has told; no data: forget it."""
        if not memoryview(data):
            self._functions.pop(number, None)
            sharing.forget(number)
            return
        kind, what = sharing.read_label(data)
        if kind == "call":
            self._functions[number] = (what, (data, buffers))
        elif kind == "shared":
            sharing.receive(what[0], number, data, buffers)
        else:
            self._new[what] = None if kind == "gone" else (data, buffers)

    def initialize(self, target: int, data: "Buffer", buffers: list[native.Block]) -> bytes | None:
        """Call the initializer, if there is one.

        Returns:
            The traceback if it failed.

        """
        if not memoryview(data):
            return None
        try:
            function, args, kwargs = self.load_call(target, data, buffers)
            value = function(*args, **kwargs)
            if isinstance(value, Coroutine):
                well, value = _run_coroutine(value)
                if not well:
                    raise value
        except BaseException as error:
            forget_our_frame(error)
            return format_failure(error).encode(errors="replace")
        return None

    def load_new(self) -> None:
        """Load what has been told since the last task; what fails, fails tasks."""
        while self._new:
            self._load(next(iter(self._new)))

    def function(self, target: int) -> tuple[Callable[..., Any], _Classes]:
        """Return a function that can be called until the next image comes.

        Returns:
            What to call, and the exceptions upon which to try again.

        Raises:
            BaseException: what loading it, or what it relies on, has raised.

        """
        self.load_new()
        return self._unwrapped(self._function(target))

    def _function(self, target: int) -> Callable[..., Any]:
        keys, known = self._functions[target]
        if self._failed:
            for key in keys:
                if key in self._failed:
                    raise self._failed[key].with_traceback(None)
        if isinstance(known, tuple):
            data, buffers = known
            known = pickle.loads(data, buffers=buffers)
            self._functions[target] = (keys, known)
        return known

    def run(
        self, target: int, data: "Buffer", buffers: list[native.Block], packer: native.Packer
    ) -> _Answer:
        """Run a task, or a chunk of them, whose arguments are a pickle.

        Returns:
            How it ended, and the packer that the value was written to, or the
            encoded exception.

        """
        try:
            function, args, kwargs = self.load_call(target & ~CHUNK, data, buffers)
        except BaseException as error:
            return self.not_loaded(error)
        finally:
            # What the arguments have of them stays as long as they do.
            del data, buffers
        call, retry_on = self._unwrapped(function)
        try:
            if target & CHUNK:
                return _run_chunk(packer, call, *args)
            value = call(*args, **kwargs)
        except BaseException as error:
            forget_our_frame(error)
            return self.raised(error, retry_on)
        # The value alone may still need them.
        del function, call, args, kwargs
        return self.returned(value, retry_on, packer)

    def _unwrapped(self, function: Callable[..., Any]) -> tuple[Callable[..., Any], _Classes]:
        """Find what to call, without a frame of ours, and what to retry it upon."""
        terms = terms_of(function)
        if terms is None:
            return function, ()
        bare = function.__wrapped__ if type(function) is TaskFunction else function
        if terms.capture and self.channel is not None:
            from plait._worker.capture import capturing

            bare = capturing(bare, self.channel, several=self.several)
        return bare, terms.retry_on

    def returned(self, value: Any, retry_on: _Classes, packer: native.Packer) -> _Answer:
        """Encode what a task returned; a coroutine is run, and is not the value."""
        if not isinstance(value, Coroutine):
            return self.finished(True, value, retry_on, packer)
        if self.several:
            return GOES_ON, (value, retry_on, packer)
        try:
            well, value = _run_coroutine(value)
        except BaseException as error:
            forget_our_frame(error)
            return self.raised(error, retry_on)
        return self.finished(well, value, retry_on, packer)

    def finished(
        self, well: bool, value: Any, retry_on: _Classes, packer: native.Packer
    ) -> _Answer:
        """Encode what a task, or its coroutine, has returned, or else has raised."""
        if not well:
            forget_our_frame(value)
            return self.raised(value, retry_on)
        try:
            encode_value(value, packer)
            return RETURNED, packer
        except BaseException as error:
            return self.raised(unpicklable(value, error, as_pool=self.as_pool), ())

    def raised(self, error: BaseException, retry_on: _Classes) -> tuple[int, bytes]:
        """Encode what a task raised."""
        if self._failed and isinstance(error, NameError):
            self._tell_failed(error)
        how = RAISED_TO_RETRY if isinstance(error, retry_on) else RAISED
        return how, encode_failure(error)

    def not_loaded(self, error: BaseException) -> tuple[int, bytes]:
        """Encode what kept a task from being called."""
        error.add_note("while loading the function and its arguments in the worker")
        self._tell_failed(error)
        return self.raised(error, ())

    def _tell_failed(self, error: BaseException) -> None:
        """Add what could not be loaded: it may be why."""
        for (module, name), failure in self._failed.items():
            note = f"(the global {name!r} of {module} failed before: {failure!r})"
            if failure is not error and note not in getattr(error, "__notes__", ()):
                error.add_note(note)

    def load_call(
        self, target: int, data: "Buffer", buffers: list[native.Block]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Unpickle a function, its arguments and keywords.

        Raises:
            BaseException: what loading them has raised.

        """
        self.load_new()
        if target:
            function = self._function(target)
            args, kwargs = pickle.loads(data, buffers=buffers)
        else:
            function, args, kwargs = pickle.loads(data, buffers=buffers)
        return function, args, kwargs

    def _load(self, key: _Key) -> None:
        """Bind the name to what was told."""
        data = self._new.pop(key)
        module, name = key
        variables = namespace(module).__dict__
        if data is None:
            if key in self._told:
                self._told.discard(key)
                variables.pop(name, None)
            self._failed.pop(key, None)
            return
        if name in variables and key not in self._told:
            return  # set by an initializer or a task, which has the last word
        self._loading[key] = data
        try:
            variables[name] = _ImageUnpickler(self, data).load()
        except BaseException as error:
            error.add_note(f"while loading the global {name!r} of {module} in the worker")
            self._failed[key] = error
        else:
            self._told.add(key)
            self._failed.pop(key, None)
        finally:
            self._loading.pop(key, None)

    def draw(self, key: _Key) -> None:
        """Load what another image names."""
        if key in self._new:
            self._load(key)
            return
        module, name = key
        if key in self._loading and not hasattr(namespace(module), name):
            # A class is being loaded, and a base of it names it (a register of
            # subclasses, say). The base is there by now, so a second load gets
            # through, and the first goes on with what the second made.
            made_before[key] = _ImageUnpickler(self, self._loading.pop(key)).load()


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    from plait._worker.coroutines import run  # brings asyncio along

    return run(coroutine)


def _run_chunk(
    packer: native.Packer, function: Callable[..., Any], mode: int, items: list[Any]
) -> _Answer:
    reply = run_chunk(function, mode, items)
    try:
        encode_value(reply, packer)
    except BaseException:
        # At least one of them cannot be pickled; the others can.
        packer.clear()
        encode_value(salvage(mode, reply), packer)
    return RETURNED, packer


class _ImageUnpickler(pickle.Unpickler):
    def __init__(self, inbound: Inbound, image: _Pickle) -> None:
        data, buffers = image
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._inbound = inbound

    def find_class(self, module: str, name: str) -> Any:
        self._inbound.draw((module, name.partition(".")[0]))
        return super().find_class(module, name)
