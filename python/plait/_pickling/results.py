"""Values and exceptions on their way back."""

import os
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from plait._binding import native
from plait._pickling.large import as_buffer
from plait._pickling.pickler import PROTOCOL, dumps
from plait._pickling.sharing import ANSWER, arriving
from plait._pickling.stand_ins import make, reduced
from plait._worker.stopping import Stopped

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "decode_failure",
    "decode_value",
    "encode_failure",
    "encode_value",
    "failure_text",
    "forget_our_frame",
    "format_failure",
    "unpicklable",
]


class _Node(NamedTuple):
    """An exception, with what pickle leaves out; others by their places in a list."""

    class_name: str
    text: str
    # Of causes and contexts only if they have to be described.
    traceback: str
    # None if it has none that survives; of a group, without its members.
    pickled: bytes | None
    notes: list[str]
    cause: int | None
    context: int | None
    suppress_context: bool
    members: list[int] | None


# Past properties that a class may have in their place.
_cause: Any = BaseException.__cause__
_context: Any = BaseException.__context__


def encode_value(value: Any, packer: native.Packer) -> None:
    """Pickle what a task returned.

    Raises:
        Exception: what the pickler raises.

    """
    dumps(as_buffer(value), packer, home=ANSWER)


def unpicklable(value: Any, error: BaseException, *, as_pool: bool) -> BaseException:
    """Return what a task has raised whose value cannot be pickled.

    Args:
        value: what it has returned.
        error: what the pickler has raised.
        as_pool: whether to say it as `multiprocessing.Pool` does.

    """
    error.add_note(f"while pickling the result, an object of type {type(value).__qualname__}")
    if not as_pool:
        return error
    from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]

    try:
        told: BaseException = MaybeEncodingError(error, value)
    except Exception:
        return error  # the value has no text either
    told.__cause__ = error
    return told


def decode_value(
    data: "Buffer", buffers: list[native.Block], name: str, images: tuple[native.Image, ...] = ()
) -> Any:
    """Unpickle what a task returned.

    Args:
        data: what `encode_value` wrote.
        buffers: what the pickler left out of it.
        name: the function's name, for a note if that fails.
        images: those of the shared objects that it names.

    Raises:
        Exception: what unpickling raises.

    """
    try:
        if images:
            with arriving(images):
                return pickle.loads(data, buffers=buffers)
        return pickle.loads(data, buffers=buffers)
    except Exception as error:
        error.add_note(f"while unpickling the result of {name}")
        raise


def forget_our_frame(error: BaseException) -> None:
    """Leave out the frame that called the user's; a function in C has no other."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next


def format_failure(error: BaseException) -> str:
    """Format the traceback of an exception that a task or initializer raised."""
    import traceback

    try:
        return "".join(traceback.format_exception(error))
    except Stopped:
        raise
    except BaseException as failure:
        # Its `__str__` may raise.
        return f"{_own_traceback(error)}(formatting the rest of its traceback raised {failure!r})\n"


def encode_failure(error: BaseException) -> bytes:
    """Pickle what a task raised, with its cause and context and its traceback.

    Never raises: an exception that cannot be carried is described instead.
    """
    places = {id(error): 0}
    found = [error]

    def place(related: BaseException | None) -> int | None:
        if related is None:
            return None
        if id(related) not in places:
            places[id(related)] = len(found)
            found.append(related)
        return places[id(related)]

    nodes = []
    for link in found:
        cause, context = _cause.__get__(link), _context.__get__(link)
        members = _members(link)
        pickled = _pickle_exception(link) if members is None else _pickle_group(link)
        # With what it led from, all of it, so for one alone: a long chain has many.
        shown = "" if pickled is not None else _own_traceback(link)
        if link is error:
            shown = format_failure(link)
        nodes.append(
            _Node(
                _class_name(type(link)),
                _text(link),
                shown,
                pickled,
                _notes(link),
                place(cause),
                place(context),
                link.__suppress_context__,
                None if members is None else [place(member) or 0 for member in members],
            )
        )
    return pickle.dumps((os.getpid(), [tuple(node) for node in nodes]), PROTOCOL)


def decode_failure(data: "Buffer", name: str) -> BaseException:
    """Make the exception again that `encode_failure` took apart.

    Args:
        data: what `encode_failure` made.
        name: the function's name.

    """
    pid, items = pickle.loads(data)
    nodes = [_Node(*item) for item in items]
    made: dict[int, BaseException] = {}
    for place in range(len(nodes)):
        _rebuild(nodes, place, made)
    for place, node in enumerate(nodes):
        error = made[place]
        _cause.__set__(error, None if node.cause is None else made[node.cause])
        _context.__set__(error, None if node.context is None else made[node.context])
        error.__suppress_context__ = node.suppress_context
    made[0].add_note(f"\nIn worker process {pid}, which ran {name}:\n{nodes[0].traceback.rstrip()}")
    return made[0]


def failure_text(data: bytes) -> str:
    """Return the traceback of what `encode_failure` took apart."""
    _, items = pickle.loads(data)
    return _Node(*items[0]).traceback.rstrip()


def _own_traceback(error: BaseException) -> str:
    """Format the traceback of an exception without what it led from."""
    import traceback

    frames = "".join(traceback.format_tb(error.__traceback__))
    return (
        f"Traceback (most recent call last):\n{frames}{_class_name(type(error))}: {_text(error)}\n"
    )


def _rebuild(nodes: list[_Node], place: int, made: dict[int, BaseException]) -> BaseException:
    """Make an exception, and before it the members if it is a group."""
    if place in made:
        return made[place]
    node = nodes[place]
    error = None
    if node.pickled is not None:
        try:
            error = pickle.loads(node.pickled)
            if node.members is not None:
                error = _make_group(error, [_rebuild(nodes, at, made) for at in node.members])
        except Exception:
            # Its class is not here, or does not come to life here: described.
            error = None
    if not isinstance(error, BaseException):
        from plait._errors import RemoteError

        error = RemoteError(node.class_name, node.text, node.traceback)
    given = getattr(error, "__notes__", [])
    if not given or not isinstance(given, list):
        # Only in a list notes are shown, and can more be added.
        error.__notes__ = list(node.notes)
    made[place] = error
    return error


def _pickle_exception(error: BaseException) -> bytes | None:
    """Pickle an exception, or a stand-in of its class, if it is the same again afterwards."""
    data = _attempt(error, lambda: error)
    return _attempt(error, lambda: reduced(error)) if data is None else data


def _attempt(error: BaseException, reduce: Callable[[], object]) -> bytes | None:
    try:
        packer = native.Packer()
        dumps(reduce(), packer, home=ANSWER)
        data = packer.getvalue()
        again = pickle.loads(data)
    except Stopped:
        raise
    except BaseException:
        # Whatever its class raises here, it raises in the place of what is to be told.
        return None
    return data if type(again) is type(error) and _text(again) == _text(error) else None


def _members(error: BaseException) -> tuple[BaseException, ...] | None:
    """Return the members of a group that is pickled in the ordinary way."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    kind = type(error)
    own = kind.__reduce__ is not BaseException.__reduce__
    return None if own or kind.__reduce_ex__ is not object.__reduce_ex__ else error.exceptions


def _pickle_group(error: Any) -> bytes | None:
    """Pickle a group without its members, each of which travels by itself."""
    state = {name: value for name, value in vars(error).items() if name != "__notes__"}
    try:
        packer = native.Packer()
        dumps((type(error), error.message, state), packer, home=ANSWER)
        data = packer.getvalue()
        again = _make_group(pickle.loads(data), list(error.exceptions))
    except Stopped:
        raise
    except BaseException:
        return None
    return data if _text(again) == _text(error) else None


def _make_group(parts: Any, members: list[BaseException]) -> BaseException:
    cls, message, state = parts
    return make(cls, BaseExceptionGroup, (message, members), state)


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _class_name(cls: type) -> str:
    module = cls.__module__
    return (
        cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Stopped:
        raise
    except BaseException as failure:
        return f"<its text cannot be made: {failure!r}>"
