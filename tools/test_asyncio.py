"""Runs CPython's own tests of asyncio, which come with the interpreter, on plait's loop.

    tools/python tools/test_asyncio.py [--loop plait] [NAME ...]

A NAME is a module, a class or a case below `test.test_asyncio` (`test_events`,
`test_tasks.CTask_CFuture_Tests`); by default all. `listed.py` says when it fails; the exceptions
are in `tests/peers/asyncio_exceptions.toml`.
"""

import sys

import listed
import suites
from environment import ROOT, Environment
from interpreters import SetupError

PACKAGE = "test.test_asyncio"


def modules(environment: Environment) -> list[str]:
    """List the modules of the suite that the interpreter came with.

    Raises:
        SetupError: it came without.
    """
    found = listed.stems(environment, PACKAGE)
    if not found:
        raise SetupError(f"{environment.interpreter} came without {PACKAGE}")
    return found


SUITE = listed.Suite(
    name="asyncio",
    package=f"{PACKAGE}.",
    exceptions=ROOT / "tests" / "peers" / "asyncio_exceptions.toml",
    standard="asyncio",
    made="a loop",
    modules=modules,
)


if __name__ == "__main__":
    sys.exit(suites.main("test_asyncio.py", SUITE.test, (180, "each module"), sys.argv[1:]))
