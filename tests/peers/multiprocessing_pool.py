"""The part of `test._test_multiprocessing` that is about pools, of processes and of threads.

CPython makes one with everything for each start method. It lies in a file so that workers can
import it.
"""

from typing import Any

from test import _test_multiprocessing

CLASSES = (
    "WithProcessesTestPool",
    "WithProcessesTestPoolWorkerErrors",
    "WithProcessesTestPoolWorkerLifetime",
    "WithThreadsTestPool",
    "TestPoolNotLeakOnFailure",
    "TestInitializers",
)

_everything: dict[str, Any] = {"__name__": __name__}
_test_multiprocessing.install_tests_in_module_dict(_everything, "spawn")
globals().update({name: _everything[name] for name in (*CLASSES, "setUpModule", "tearDownModule")})

# The other test of that class is about managers.
del _test_multiprocessing.TestInitializers.test_manager_initializer
