"""The context of `multiprocessing` whose processes are these."""

from multiprocessing.context import SpawnContext

from plait._process.process import Process

__all__ = ["get_context"]


class _Context(SpawnContext):
    # Its locks, queues and values are those of the spawn context, which can be handed to a process
    # that is not a forked child of this one.
    Process = Process  # type: ignore[assignment]


_context = _Context()


def get_context() -> SpawnContext:
    """Return a context of `multiprocessing` whose `Process` is `plait.Process`.

    Its locks, queues, values and managers are those of `multiprocessing`, of the kind that can be
    handed to a `plait.Process`, and to the initializer of a `plait.ProcessPoolExecutor`.
    """
    return _context
