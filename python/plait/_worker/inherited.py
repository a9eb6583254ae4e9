"""Descriptors that were handed to this process when it was started."""

__all__ = ["DupFd", "fds", "received", "take"]

# In the order in which the parent found them in the arguments.
fds: list[int] = []
# All that was handed on; the first may be the resource tracker's.
received: list[int] = []


class DupFd:
    """Stands in a pickle for a descriptor; what `multiprocessing` expects one to look like."""

    def __init__(self, place: int) -> None:
        """Name it by its place in the order."""
        self.place = place

    def detach(self) -> int:
        """Return the descriptor, which belongs to the caller."""
        return fds[self.place]


def take(handed: list[int], tracked: bool) -> None:
    """Take over what was handed on.

    Args:
        handed: the descriptors.
        tracked: whether the first is that of the parent's resource tracker.

    """
    received[:] = handed
    fds[:] = handed
    if tracked:
        # Imported only where there is one: it takes a while.
        from multiprocessing import resource_tracker

        resource_tracker._resource_tracker._fd = fds.pop(0)  # type: ignore[attr-defined]
