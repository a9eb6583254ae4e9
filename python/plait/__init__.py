"""Every asynchronous method of Python, each at its best, behind one task model."""

from plait._binding import native

__version__: str = native.__version__
