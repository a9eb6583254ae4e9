"""Values and exceptions on their way back."""

import os
import pickle
from typing import TYPE_CHECKING, Any

from plait._binding import native
from plait._pickling.pickler import PROTOCOL, dumps
from plait._pickling.sharing import ANSWER, arriving

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

# An exception, without what pickle leaves out: class name, text, traceback,
# pickle (None if it has none that survives), notes, the places in the list of
# its cause and context, and whether the context is to be shown.
_Node = tuple[str, str, str, bytes | None, list[str], int | None, int | None, bool]


def encode_value(value: Any, packer: native.Packer) -> None:
    """Pickle what a task returned.

    Raises:
        Exception: what the pickler raises.

    """
    dumps(value, packer, home=ANSWER)


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
    except Exception as failure:
        # Its `__str__` may raise.
        return f"{type(error).__qualname__} (its traceback cannot be formatted: {failure!r})\n"


def encode_failure(error: BaseException) -> bytes:
    """Pickle what a task raised, with its cause and context and its traceback.

    Never raises: an exception that cannot be carried is described instead.
    """
    nodes: list[_Node] = []
    places: dict[int, int] = {}
    chain: list[BaseException] = [error]
    places[id(error)] = 0
    for link in chain:
        for related in (link.__cause__, link.__context__):
            if related is not None and id(related) not in places:
                places[id(related)] = len(chain)
                chain.append(related)
    for link in chain:
        cause, context = link.__cause__, link.__context__
        nodes.append(
            (
                _class_name(type(link)),
                _text(link),
                format_failure(link),
                _pickle_exception(link),
                [note for note in getattr(link, "__notes__", ()) if isinstance(note, str)],
                None if cause is None else places[id(cause)],
                None if context is None else places[id(context)],
                link.__suppress_context__,
            )
        )
    return pickle.dumps((os.getpid(), nodes), PROTOCOL)


def decode_failure(data: "Buffer", name: str) -> BaseException:
    """Make the exception again that `encode_failure` took apart.

    Args:
        data: what `encode_failure` made.
        name: the function's name.

    """
    nodes: list[_Node]
    pid, nodes = pickle.loads(data)
    chain = [_rebuild(node) for node in nodes]
    for error, (*_, cause, context, suppress) in zip(chain, nodes, strict=True):
        error.__cause__ = None if cause is None else chain[cause]
        error.__context__ = None if context is None else chain[context]
        error.__suppress_context__ = suppress
    chain[0].add_note(f"\nIn worker process {pid}, which ran {name}:\n{nodes[0][2].rstrip()}")
    return chain[0]


def failure_text(data: bytes) -> str:
    """Return the traceback of what `encode_failure` took apart."""
    nodes: list[_Node]
    _, nodes = pickle.loads(data)
    return nodes[0][2].rstrip()


def _rebuild(node: _Node) -> BaseException:
    class_name, text, traceback, data, notes, *_ = node
    error = None
    if data is not None:
        try:
            error = pickle.loads(data)
        except Exception:
            # Its class is not here, or does not come to life here: described.
            error = None
    if not isinstance(error, BaseException):
        from plait._errors import RemoteError

        error = RemoteError(class_name, text, traceback)
    if not getattr(error, "__notes__", None):
        for note in notes:
            error.add_note(note)
    return error


def _pickle_exception(error: BaseException) -> bytes | None:
    """Pickle an exception, if it is the same again afterwards."""
    try:
        packer = native.Packer()
        dumps(error, packer, home=ANSWER)
        data = packer.getvalue()
        again = pickle.loads(data)
    except Exception:
        return None
    return data if type(again) is type(error) else None


def _class_name(cls: type) -> str:
    module = cls.__module__
    return (
        cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<its text cannot be made: {failure!r}>"
