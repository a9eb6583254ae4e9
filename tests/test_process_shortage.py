"""A pool that runs out of descriptors for a while goes on afterwards, and loses nothing."""

import subprocess
import sys

import pytest

LIMIT = 60

PRELUDE = """
import contextlib, os, resource, signal, time
import plait
LIMIT = 30

@contextlib.contextmanager
def without_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.dup(0))
    yield
    for number in held:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

def template_of(worker):
    with open(f"/proc/{worker}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])
"""

FIRST_WORKER = """
with plait.ProcessPoolExecutor(2) as pool:
    time.sleep(1)  # The template serves.
    with without_descriptors():
        future = pool.submit(pow, 2, 3)
        time.sleep(0.3)
    assert future.result(LIMIT) == 8
"""

NEW_TEMPLATE = """
with plait.ProcessPoolExecutor(2) as pool:
    worker = pool.submit(os.getpid).result(LIMIT)
    template = template_of(worker)
    busy = pool.submit(time.sleep, 1)
    with without_descriptors():
        os.kill(template, signal.SIGKILL)
        futures = [pool.submit(pow, 2, 3) for _ in range(4)]
        time.sleep(0.3)
    assert busy.result(LIMIT) is None
    assert [future.result(LIMIT) for future in futures] == [8] * 4
"""

GROWTH = """
import tempfile

def meet(folder, n):
    open(f"{folder}/{n}", "w").close()
    while len(os.listdir(folder)) < 4:
        time.sleep(0.001)

with plait.ProcessPoolExecutor(4) as pool:
    pool.submit(pow, 2, 3).result(LIMIT)
    with without_descriptors():
        futures = []
        for _ in range(6):
            futures.append(pool.submit(time.sleep, 0.2))
            time.sleep(0.05)
    folder = tempfile.mkdtemp()
    futures += [pool.submit(meet, folder, n) for n in range(4)]
    for future in futures:
        future.result(LIMIT)
"""

OUTCOMES = """
import concurrent.futures

def fail():
    raise LookupError("what a task raised")

def fail_strangely():
    class Strange(Exception):
        def __reduce__(self):
            raise TypeError
        def __str__(self):
            return f"another text for each object: {id(self)}"
    raise Strange("what cannot be made again")

def hang(path):
    open(path, "w").close()
    time.sleep(1000)

with plait.ProcessPoolExecutor(2) as pool:
    running = pool.submit(hang, "running")
    futures = {
        "LookupError": pool.submit(fail),
        "WorkerDied": pool.submit(os._exit, 3),
        "RemoteError": pool.submit(fail_strangely),
        "TaskTimeout": pool.submit(plait.task(time.sleep, timeout=0.1), 1000),
        "BytesReturned": pool.submit(bytes, 5_000_000),
        "Killed": running,
    }
    tried = pool.submit(plait.task(fail, retries=1))
    while not os.path.exists("running"):
        time.sleep(0.001)
    running.cancel()
    concurrent.futures.wait([*futures.values(), tried])
    with without_descriptors():
        # Perhaps what they are made of has not been imported.
        for future in futures.values():
            with contextlib.suppress(Exception, concurrent.futures.CancelledError):
                future.result(0)
    assert len(futures.pop("BytesReturned").result(0)) == 5_000_000
    for name, future in futures.items():
        assert type(future.exception(0)).__name__ == name, (name, future)
    assert "attempt number 2" in tried.exception(0).__notes__[-1]
"""


@pytest.mark.parametrize("script", [FIRST_WORKER, NEW_TEMPLATE, GROWTH])
def test_a_shortage_passes(script):
    subprocess.run([sys.executable, "-c", PRELUDE + script], check=True, timeout=LIMIT)


def test_an_outcome_survives_a_shortage(tmp_path):
    subprocess.run(
        [sys.executable, "-c", PRELUDE + OUTCOMES], cwd=tmp_path, check=True, timeout=LIMIT
    )
