"""The contract of the native module: `tests/test_stubs.py` holds it to it."""

__version__: str
DEBUG_BUILD: bool
