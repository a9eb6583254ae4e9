"""Descriptors that were handed to this process when it was started."""

__all__ = ["DupFd", "fds"]

# In the order in which the parent found them in the arguments.
fds: list[int] = []


class DupFd:
    """Stands in a pickle for a descriptor; what `multiprocessing` expects one to look like."""

    def __init__(self, place: int) -> None:
        """Name it by its place in the order."""
        self.place = place

    def detach(self) -> int:
        """Return the descriptor, which belongs to the caller."""
        return fds[self.place]
