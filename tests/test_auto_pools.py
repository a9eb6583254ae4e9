"""The second pool of processes that automatic choice starts: where there is no room, and later."""

import subprocess
import sys

import pytest
from tasks import LIMIT

import plait
from plait._auto import pools


@pytest.fixture(autouse=True)
def none_yet(monkeypatch):
    monkeypatch.setattr(pools, "_more", None)
    yield
    if pools._more is not None:
        pools._more[0].shutdown()


@pytest.mark.parametrize("error", [OSError, RuntimeError])
@pytest.mark.parametrize("where", ["__init__", "submit"])
def test_where_there_is_no_room_calls_go_where_they_went_before(monkeypatch, where, error):
    refused = []

    def refuse(*args, **kwargs):
        refused.append(args)
        raise error("no room")

    with monkeypatch.context() as patch:
        patch.setattr(plait.ProcessPoolExecutor, where, refuse)
        pools.start_more_processes()
    assert len(refused) == 1
    width, is_up = pools.wide()
    assert not is_up
    assert pools.processes(width) is plait.default_executor("process")
    # Once there is room, they are started as ever.
    pools.start_more_processes()
    pool, begun = pools._more
    assert begun.result(LIMIT) == 0
    assert pools.wide() == (width, True)
    assert pools.processes(width) is pool


def test_what_is_wrong_with_the_program_is_not_taken_for_no_room(monkeypatch):
    def wrong(*args):
        raise TypeError("wrong")

    monkeypatch.setattr(plait.ProcessPoolExecutor, "__init__", wrong)
    with pytest.raises(TypeError, match="wrong"):
        pools.start_more_processes()


# No descriptor is left: neither a template nor a worker can be started.
SHORT = """
import contextlib, os, resource
import plait
from plait._auto import pools

def first(x):
    return x + 1

assert list(plait.map(first, range(10))) == list(range(1, 11))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
held = []
with contextlib.suppress(OSError):
    while True:
        held.append(os.dup(0))
pools.start_more_processes()
assert not pools.wide()[1]
assert plait.submit(first, 1, on="auto").result(60) == 2
for number in held:
    os.close(number)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
pools.start_more_processes()
assert pools._more[1].result(60) == 0
assert pools.wide()[1]
assert pools._more[0].submit(first, 2).result(60) == 3
print("fine")
"""


def test_without_descriptors_there_are_no_more_and_later_there_are():
    done = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)
