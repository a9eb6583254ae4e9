"""Objects that a pool places once, and the handles that tasks take."""

import marshal
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Self, TypeVar

from plait._binding import native

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "ANSWER",
    "Placing",
    "Shared",
    "adopt",
    "arriving",
    "find",
    "forget",
    "read_label",
    "receive",
    "reduce_handle",
    "write_label",
]

_T_co = TypeVar("_T_co", covariant=True)

# The pool and the number of an object. Numbers are those of the process that has the pool, and a
# worker may have pools too.
_Key = tuple[bytes, int]
# A pickle, and the buffers that the pickler left out of it.
_Pickle = tuple[Any, list[Any]]

# What any item of a buffer may have to be aligned to.
_ALIGNED = 64
# What is pickled is the answer to the pool that this process works for.
ANSWER: Final = b""

# The handles of this process.
_living: "weakref.WeakValueDictionary[_Key, Shared[Any]]" = weakref.WeakValueDictionary()
# What the pool that this process works for has placed, and still has, by number: the pool, and what
# it is.
_received: dict[int, tuple[bytes, "_Content"]] = {}
_arriving = threading.local()


class Shared(Generic[_T_co]):
    """A handle of an object that `ProcessPoolExecutor.share` has placed.

    It is small, and can be an argument of any task of its pool, or part of one. The object stays
    in place as long as this process or a task that has been submitted has the handle, and in a
    worker as long as anything there has it or looks at what is in it.
    """

    __slots__ = ("__weakref__", "_content", "_home", "_image", "_number")

    _content: "_Content"
    _home: bytes
    # None where the object was received.
    _image: native.Image | None
    _number: int

    def __init__(self) -> None:
        """Refuse: `ProcessPoolExecutor.share` makes handles."""
        raise TypeError("handles are made by the share() method of a pool")

    def get(self) -> _T_co:
        """Return the object, for looking at.

        It is unpickled once in each process, when this is first called. Arrays and other buffers
        in it are read-only views of memory that all processes see; all else is a copy of the
        process's own, the same for every task that it runs, and better left as it is.

        Raises:
            RuntimeError: the handle was inherited by a fork.
            Exception: what unpickling raises.

        """
        value: _T_co = self._content.value()
        return value

    def __copy__(self) -> Self:
        """Return itself: there is nothing in it that could change."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself, as a copy of an immutable object is."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse: only the pool's own picklers know the way."""
        raise _misplaced(self, "it can be pickled only for a task of the pool that it is of")

    def __repr__(self) -> str:
        """Tell one from another."""
        return f"<plait.Shared number {self._number} of process {self._content.owner}>"


class _Content:
    """What a handle leads to."""

    def __init__(self, source: Callable[[], _Pickle], needs: Callable[[], Any]) -> None:
        """Unpickle, when asked to, what `source` returns; that names images of `needs`."""
        self.owner = os.getpid()
        self._source: Callable[[], _Pickle] | None = source
        self._needs = needs
        self._made: list[Any] = []

    def value(self) -> Any:
        source = self._source
        if source is not None:
            if os.getpid() != self.owner:
                raise RuntimeError(
                    f"this handle belongs to process {self.owner}, from which this process was "
                    "forked: call get() there before the fork"
                )
            data, buffers = source()
            with arriving(self._needs()):
                value = _load(data, buffers)
            # Without a lock: unpickling runs code of the user's. Who comes first has it.
            if not self._made:
                self._made.append(value)
            self._source = None
        return self._made[0]


def _load(data: "Buffer", buffers: list[Any]) -> Any:
    _, (_, inline) = read_label(data)
    view, placed = memoryview(data).toreadonly(), iter(buffers)
    parts = (next(placed) if some is None else view[some[0] : some[1]] for some in inline)
    return pickle.loads(view, buffers=parts)


class Placing:
    """What a pickler writes an object to that is to be shared.

    All its buffers are kept out of the pickle, also those that the arena does not take, which
    come behind it: what is made of a buffer can be written to or not as the buffer can, while
    what is in a pickle is copied.
    """

    def __init__(self, arena: native.Arena | None) -> None:
        """Have nothing yet."""
        self.packer = native.Packer(arena)
        self._size = 0
        self._inline: list[memoryview | None] = []

    def write(self, data: "Buffer") -> int:
        """Add to the pickle."""
        written = self.packer.write(data)
        self._size += written
        return written

    def buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer that the pickler offers; True: it belongs in the pickle."""
        some = None
        if self.packer.buffer(buffer):
            try:
                some = buffer.raw()
            except BufferError:
                return True  # it has gaps, which the pickler says best
        self._inline.append(some)
        return False

    def clear(self) -> None:
        """Forget what was written."""
        self.packer.clear()
        self._size = 0
        self._inline.clear()

    def finish(self, home: bytes) -> native.Packer:
        """Add the buffers, and say what it is."""
        places: list[tuple[int, int] | None] = []
        for some in self._inline:
            if some is None:
                places.append(None)
                continue
            self.write(bytes(-self._size % _ALIGNED))
            start = self._size
            places.append((start, start + self.write(some)))
        write_label(self.packer, "shared", (home, places))
        return self.packer


def write_label(packer: native.Packer, kind: str, what: Any) -> None:
    """Say behind a pickle what it is."""
    label = marshal.dumps((kind, what))
    packer.write(label + len(label).to_bytes(8, sys.byteorder))


def read_label(data: "Buffer") -> tuple[str, Any]:
    """Read what `write_label` wrote."""
    view = memoryview(data)
    size = int.from_bytes(view[-8:], sys.byteorder)
    kind, what = marshal.loads(view[-8 - size : -8])
    return kind, what


def adopt(home: bytes, image: native.Image) -> Shared[Any]:
    """Return the handle of an object that this process has placed."""
    handle = _living.get((home, image.id))
    if handle is None:
        handle = _handle(home, image.id, _Content(image.read, lambda: image.needs), image)
    return handle


def receive(home: bytes, number: int, data: "Buffer", buffers: list[Any]) -> None:
    """Keep what the pool that this process works for has placed."""
    _received[number] = home, _Content(lambda: (data, buffers), tuple)


def forget(number: int) -> None:
    """Forget what the pool has no handle of any more."""
    _received.pop(number, None)


def _handle(home: bytes, number: int, content: _Content, image: native.Image | None) -> Shared[Any]:
    handle: Shared[Any] = Shared.__new__(Shared)
    handle._home, handle._number, handle._content, handle._image = home, number, content, image
    return _living.setdefault((home, number), handle)


@contextmanager
def arriving(images: tuple[native.Image, ...]) -> Iterator[None]:
    """Have `find` find the objects of these images too."""
    before = getattr(_arriving, "images", {})
    _arriving.images = {image.id: image for image in images}
    try:
        yield
    finally:
        _arriving.images = before


def find(home: bytes, number: int) -> Shared[Any]:
    """Return the handle that a pickle names.

    Raises:
        RuntimeError: there is none any more.

    """
    handle = _living.get((home, number))
    if handle is not None:
        return handle
    image = getattr(_arriving, "images", {}).get(number)
    if image is not None:
        return adopt(home, image)
    pool, content = _received.get(number, (None, None))
    if pool == home and content is not None:
        return _handle(home, number, content, None)
    raise RuntimeError(
        "the program has no handle of this shared object any more: keep what share() returned as "
        "long as tasks, or what they leave behind, use it"
    )


def reduce_handle(
    handle: Shared[Any], home: bytes | None, keys: set[Any], file: Any
) -> tuple[Any, ...]:
    """How a handle is sent, by its number.

    Args:
        handle: the handle.
        home: the pool whose task is pickled; `ANSWER`; None: no pool's.
        keys: gets the handle, if workers have to be told of the object.
        file: what the pickle is written to.

    Raises:
        RuntimeError: it is not for there.

    """
    if home == ANSWER and handle._image is None:
        file.mention(handle._number)
        return find, (handle._home, handle._number)
    if home is None:
        raise _misplaced(handle, "it can be pickled only for a task of the pool that it is of")
    if home != handle._home:
        raise _misplaced(handle, "the task is one of another pool, and that one cannot reach it")
    keys.add(handle)
    return find, (home, handle._number)


def _misplaced(handle: Shared[Any], why: str) -> RuntimeError:
    return RuntimeError(
        f"{handle!r} cannot be sent: {why}. Share the object with the pool that is to have it, "
        "pool.share(handle.get()), or send handle.get() itself"
    )
