"""plait's own exceptions."""

from __future__ import annotations

__all__ = ["RemoteError"]


class RemoteError(RuntimeError):
    """Stands for an exception of a worker process that cannot be brought over.

    Attributes:
        type_name: The qualified name of the original's class.
        message: The original's text.
        traceback: The worker's traceback, as text.

    """

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        """Make a stand-in for an exception of the given class and text."""
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        """Return the class and the text of the original."""
        return f"{self.type_name}: {self.message}"
