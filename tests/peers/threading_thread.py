"""`test.test_threading` with `plait.Thread` in the place of `threading.Thread`.

Only for the tests themselves: what the pools and the interpreter make of `threading` stays. The
programs that tests start use the standard class.
"""

import os
import sys
import threading
import types
from typing import Any

if "PLAIT_TEST_PROCESSES" in os.environ:
    import plait

    class _Threading(types.ModuleType):
        """`threading` with another `Thread`."""

        # So that a thread is made by this name, and its own class is found in tests.
        Thread = plait.Thread

        def __getattr__(self, name: str) -> Any:
            return getattr(threading, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(threading, name, value)

        def __delattr__(self, name: str) -> None:
            delattr(threading, name)

    # What else the tests import is to have the standard one.

    sys.modules["threading"] = _Threading("threading")
    try:
        from test import test_threading
    finally:
        sys.modules["threading"] = threading
else:
    from test import test_threading

_CLASSES = (
    "ThreadTests",
    "ThreadJoinOnShutdown",
    "ThreadingExceptionTests",
    "ThreadRunFail",
    "ExceptHookTests",
)
# A program that must not have imported threading, which the preamble of `pools.py` does.
_WITHOUT = {"test_import_from_another_thread": None}

for _name in _CLASSES:
    if hasattr(test_threading, _name):
        _case = getattr(test_threading, _name)
        globals()[_name] = type(_name, (_case,), {"__module__": __name__, **_WITHOUT})
