"""What is interrupted while it waits for a lock of ours leaves it unlocked."""

import gc
import threading
from functools import partial

import pytest
from tasks import until

import plait
from plait._alarms import _Clock
from plait._group_sync import SyncGroup
from plait._map.flow import Flow
from plait._mapping.feed import Feed

LIMIT = 30


def group():
    made = SyncGroup(None, 0)
    return made._lock, made._cancel


def clock():
    made = _Clock()
    return made._lock, made.stop


def own_map():
    before = living(Flow)
    results = plait.map(abs, [1, 2], on="thread")
    next(results)
    (flow,) = [each for each in living(Flow) if each not in before]
    return flow._lock, partial(close, flow, results)


def close(flow, results):
    flow.close()


def pool_map():
    with plait.ThreadPool(1) as pool:
        before = living(Feed)
        results = pool.imap(abs, [1, 2])
        (feed,) = [each for each in living(Feed) if each not in before]
        pool.close()
        pool.join()
        del results
    return feed._lock, feed.drain


def living(kind):
    return [each for each in gc.get_objects() if type(each) is kind]


@pytest.mark.parametrize("make", [group, clock, own_map, pool_map])
def test_an_interrupt_leaves_it_unlocked(make):
    lock, needs_it = make()
    entered = threading.Event()

    def work():
        entered.set()
        needs_it()

    thread = plait.Thread(target=work, grace=LIMIT)
    with lock:
        thread.start()
        assert entered.wait(LIMIT)
        until(lambda: waits(thread), "that it waits for the lock")
        assert thread.cancel()
    thread.join(LIMIT)
    assert type(thread.exception) is plait.Killed
    assert lock.acquire(timeout=LIMIT)
    lock.release()


def waits(thread):
    """Whether a thread sleeps in the kernel."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
        state = stat.read().rpartition(")")[2].split()[0]
    return state == "S"
