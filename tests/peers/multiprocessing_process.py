"""`test._test_multiprocessing` but for its pools, as a module of tests: on plait's processes.

CPython makes such a module for each start method. Here the context of the spawn method is
`plait.get_context()`, and `Process` is `plait.Process`, in all processes of a test.
"""

import multiprocessing
import os
from multiprocessing import context
from typing import Any

if "PLAIT_TEST_PROCESSES" in os.environ:
    import plait

    context._concrete_contexts["spawn"] = plait.get_context()  # type: ignore[attr-defined]
    multiprocessing.Process = plait.Process  # type: ignore[assignment, misc]

from multiprocessing_pool import CLASSES as OF_POOLS
from test import _test_multiprocessing

_everything: dict[str, Any] = {"__name__": __name__}
_test_multiprocessing.install_tests_in_module_dict(_everything, "spawn")
globals().update(
    {
        name: value
        for name, value in _everything.items()
        if name in ("setUpModule", "tearDownModule")
        or (
            isinstance(value, type)
            and not name.startswith(("WithThreads", "WithManager"))
            and name not in OF_POOLS
        )
    }
)

# The names of multiprocessing's own contexts.
del _test_multiprocessing.TestStartMethod.test_set_get
# A program that must not have imported multiprocessing, which the preamble of `pools.py` does.
if hasattr(_test_multiprocessing.MiscTestCase, "test_spawn_sys_executable_none_allows_import"):
    del _test_multiprocessing.MiscTestCase.test_spawn_sys_executable_none_allows_import
