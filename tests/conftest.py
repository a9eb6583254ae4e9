"""What holds for every test: nothing that one opens may outlive the run.

Processes are known by a mark in their environment, which children inherit whoever their parent
becomes; threads by `threading`; descriptors by what /proc says they are.
"""

import asyncio
import gc
import importlib
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
import trustme

# Its assertions are the tests'.
pytest.register_assert_rewrite("both_loops")

# Tests, and the programs that they start, run a debug build on purpose.
os.environ["PLAIT_ALLOW_DEBUG"] = "1"

from both_loops import FACTORIES, MODEL_IS_MENDED, Session  # noqa: E402
from programs import Program  # noqa: E402

import plait  # noqa: E402
from plait import _notifier  # noqa: E402
from plait._process import launcher  # noqa: E402

# A shell without job control starts what it runs in the background with SIGINT
# ignored, and children inherit that: the programs of the tests are to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MARK = "PLAIT_TEST_RUN"
# How long what is about to end may take to do so.
PATIENCE = 10.0
# Kinds of descriptor that an engine opens; pytest itself opens files and pipes as it runs.
KINDS = ("anon_inode:", "socket:", "/memfd:")


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process that an engine may have opened."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            what = os.readlink(entry)
        except FileNotFoundError:  # the one that listed the folder
            continue
        if what.startswith(KINDS):
            found[int(entry.name)] = what
    return found


def marked(mark: str) -> dict[int, str]:
    """Return the processes, this one aside, whose environment has the mark."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def ended(pid: int, deadline: float) -> bool:
    """Wait for the end of a process that need not be a child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)


def leftovers(mark: str, threads: set[threading.Thread], before: dict[int, str]) -> list[str]:
    """Describe what is still there after it was given time to end."""
    deadline = time.monotonic() + PATIENCE
    # What was in use when a module of tests began may be garbage since: see light_collections.
    gc.unfreeze()
    gc.collect()
    found = [
        f"process {pid}: {command}"
        for pid, command in marked(mark).items()
        if not ended(pid, deadline)
    ]
    for thread in set(threading.enumerate()) - threads:
        # These live as long as the process, by design.
        if thread.daemon or thread.name in ("plait-notifier", "plait-watcher"):
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            found.append(f"thread {thread.name}")
    # The threads of a pool that has ended close theirs after the last process is gone.
    while (opened := new_descriptors(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    found += [f"descriptor {number}: {what}" for number, what in opened.items()]
    return found


def new_descriptors(before: dict[int, str]) -> dict[int, str]:
    """Return those of an engine that are open and were not, or were something else."""
    return {number: what for number, what in descriptors().items() if before.get(number) != what}


@pytest.fixture(scope="module", autouse=True)
def light_collections() -> None:
    """Keep what is there already, 150,000 objects and more, out of the collections of the tests.

    Hundreds of them collect, some dozens of times, which took 0.07 s each and more.
    """
    gc.collect()
    gc.freeze()


def end_default_pools() -> None:
    """End the default pools, which otherwise live as long as the process."""
    defaults = sys.modules.get("plait._engines.defaults")
    while defaults is not None and defaults._pools:
        defaults._pools.popitem()[1].shutdown()
    workers = sys.modules.get("plait._parallel.workers")
    if workers is not None:
        workers.end()


@pytest.fixture(scope="module", autouse=True)
def default_pools_end_with_their_module() -> Iterator[None]:
    """Have no test module see processes of another one's default pools."""
    yield
    end_default_pools()


def end_default_engines() -> None:
    """End what otherwise lives as long as the process: the default pools and the loop."""
    end_default_pools()
    automatic = sys.modules.get("plait._auto.pools")
    if automatic is not None:
        automatic.end()
    background = sys.modules.get("plait._engines.background")
    if background is not None:
        background._background.stop()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is measured of the machine out of the home of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail if a test leaves a process, a thread or a descriptor behind."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    threads, before = set(threading.enumerate()), descriptors()
    yield
    end_default_engines()
    found = leftovers(mark, threads, before)
    assert not found, "left behind by the tests:\n  " + "\n  ".join(found)


def pytest_runtest_setup(item: pytest.Function) -> None:
    """Skip what needs asyncio's own loop as a model where that loop has faults."""
    if MODEL_IS_MENDED or item.get_closest_marker("needs_mended_model") is None:
        return
    parameters = getattr(item, "callspec", None)
    if parameters is None or parameters.params.get("factory") != "plait":
        pytest.skip("asyncio's own loop is at fault here until 3.11.7")


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a loop: plait's, then asyncio's own."""
    return FACTORIES[request.param]


@pytest.fixture
def run(factory: Callable[[], asyncio.AbstractEventLoop]) -> Session:
    """Return what runs a coroutine on a loop of its own."""
    return Session(factory)


@pytest.fixture
def loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.AbstractEventLoop]:
    """Return an open loop."""
    loop = factory()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a connection; neither blocks."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(scope="module")
def pool() -> Iterator[plait.ProcessPoolExecutor]:
    """Return a pool of two workers."""
    with plait.ProcessPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def template_ends() -> Iterator[None]:
    """End the template of `plait.Process`, which lives as long as the program otherwise."""
    yield
    launcher.launcher.stop()
    # It unlinks what has not been finalized: a lock in a cycle does that itself.
    gc.collect()
    resource_tracker._resource_tracker._stop()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Return what starts a program, and kills what is left of it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a TLS server and a client that trusts it are made with."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture(scope="module")
def bench() -> Iterator[Callable[[str], Any]]:
    """Import modules of the benchmarks, which are scripts and not installed."""
    folder = str(Path(__file__).resolve().parent.parent / "benches")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Collect the reports of lost exceptions that this test makes."""
    reports: list[Any] = []
    gc.collect()
    _notifier.flush()
    monkeypatch.setattr(plait, "losthook", reports.append, raising=False)
    yield reports
    gc.collect()
    _notifier.flush()
