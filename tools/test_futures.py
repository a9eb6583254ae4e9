"""Runs CPython's own tests of pools, processes and threads, which come with it, on plait's.

    tools/python tools/test_futures.py [--pools plait] [NAME ...]

A NAME is a module, a class or a case below `test.test_concurrent_futures` (`test_wait`,
`test_init.ThreadPoolInitializerTest`), or below `multiprocessing_pool` and
`multiprocessing_process`, which have the parts of `test._test_multiprocessing` that are about pools
and about everything else, or below `threading_thread`, which has what of `test.test_threading` is
about `Thread`; by default all. `listed.py` says when it fails; the exceptions are in
`tests/peers/futures_exceptions.toml`.
"""

import sys

import listed
import suites
from environment import ROOT, Environment
from interpreters import SetupError

PACKAGE = "test.test_concurrent_futures"
PARTS = ("multiprocessing_pool", "multiprocessing_process", "threading_thread")


def modules(environment: Environment) -> list[str]:
    """List the modules of the suites that the interpreter came with.

    Some builds have the parts of multiprocessing's alone, some neither.

    Raises:
        SetupError: it came without.
    """
    if "_test_multiprocessing" not in listed.stems(environment, "test", "_test_*.py"):
        raise SetupError(f"{environment.interpreter} came without test._test_multiprocessing")
    found = listed.stems(environment, PACKAGE)
    if not found:
        print(f"{environment.interpreter} came without {PACKAGE}")
    return [*found, *PARTS]


SUITE = listed.Suite(
    name="futures",
    package=f"{PACKAGE}.",
    exceptions=ROOT / "tests" / "peers" / "futures_exceptions.toml",
    standard="standard",
    made="a pool",
    modules=modules,
    foreign=PARTS,
)


if __name__ == "__main__":
    sys.exit(
        suites.main(
            "test_futures.py",
            SUITE.test,
            (400, "each module"),
            sys.argv[1:],
            choice=("--pools", ("plait", "standard")),
        )
    )
