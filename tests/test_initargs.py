"""The arguments of an initializer carry what only a process that is being started may be given."""

import multiprocessing
import os
import socket
from multiprocessing import shared_memory

import pytest

import plait

pytestmark = pytest.mark.usefixtures("template_ends")

SPAWN = multiprocessing.get_context("spawn")
LIMIT = 60


def keep(*given):
    global kept
    kept = given


def test_workers_share_locks_queues_and_values():
    lock, value = SPAWN.Lock(), SPAWN.Value("i", 0)
    queue, event = SPAWN.SimpleQueue(), SPAWN.Event()

    def work(n):
        lock, value, queue, event = kept
        assert event.wait(LIMIT)
        with lock:
            value.value += n
        queue.put(n)

    with plait.ProcessPoolExecutor(
        3, initializer=keep, initargs=(lock, value, queue, event)
    ) as pool:
        futures = [pool.submit(work, n) for n in range(20)]
        event.set()
        for future in futures:
            future.result(LIMIT)
        assert sorted(queue.get() for _ in range(20)) == list(range(20))
    assert value.value == sum(range(20))
    queue.close()


def test_a_worker_that_takes_the_place_of_another_has_them_too():
    value = SPAWN.Value("i", 0)

    def add():
        with kept[0]:
            kept[0].value += 1

    with plait.ProcessPoolExecutor(1, initializer=keep, initargs=(value,)) as pool:
        pool.submit(add).result(LIMIT)
        with pytest.raises(plait.WorkerDied):
            pool.submit(os._exit, 1).result(LIMIT)
        pool.submit(add).result(LIMIT)
    assert value.value == 2


def test_workers_share_sockets_pipes_and_proxies():
    near, far = socket.socketpair()
    ours, theirs = multiprocessing.Pipe()
    with SPAWN.Manager() as manager, near, far, ours, theirs:
        entries = manager.dict()

        def work():
            stream, pipe, entries = kept
            stream.send(b"bytes")
            pipe.send("object")
            entries["key"] = os.getpid()

        with plait.ProcessPoolExecutor(
            1, initializer=keep, initargs=(far, theirs, entries)
        ) as pool:
            pool.submit(work).result(LIMIT)
            assert (near.recv(5), ours.recv()) == (b"bytes", "object")
            assert entries["key"] == pool.submit(os.getpid).result(LIMIT)


def test_the_pool_keeps_what_the_caller_lets_go_of():
    near, far = socket.socketpair()
    with near:
        pool = plait.ProcessPoolExecutor(1, initializer=keep, initargs=(far,))
        far.close()
        with pool:
            pool.submit(lambda: kept[0].send(b"bytes")).result(LIMIT)
        assert near.recv(5) == b"bytes"
        assert near.recv(5) == b""  # the last copy went with the pool


def test_what_a_worker_shares_outlives_it():
    """Its resource tracker is the parent's, which waits for the parent's end."""
    lock = SPAWN.Lock()

    def make():
        memory = shared_memory.SharedMemory(create=True, size=10)
        memory.buf[0] = 7
        memory.close()
        return memory.name

    with plait.ProcessPoolExecutor(1, initializer=keep, initargs=(lock,)) as pool:
        name = pool.submit(make).result(LIMIT)
    memory = shared_memory.SharedMemory(name)
    assert memory.buf[0] == 7
    memory.close()
    memory.unlink()


@pytest.mark.parametrize("kind", ["Lock", "Queue", "Value", "Condition"])
def test_what_only_forked_children_can_use_is_refused(kind):
    fork = multiprocessing.get_context("fork")
    shared = fork.Value("i") if kind == "Value" else getattr(fork, kind)()
    with pytest.raises(RuntimeError, match=r"plait\.get_context\(\)") as caught:
        plait.ProcessPoolExecutor(1, initializer=keep, initargs=(1, shared))
    assert any("argument 2 of" in note for note in caught.value.__notes__)
    if kind == "Queue":
        shared.close()


def test_a_lock_as_an_argument_of_a_task_is_refused_as_ever():
    with plait.ProcessPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="inheritance"):
        pool.submit(print, SPAWN.Lock()).result(LIMIT)


def test_too_many_descriptors_are_refused():
    pairs = [socket.socketpair() for _ in range(300)]
    ends = [end for pair in pairs for end in pair]
    try:
        with pytest.raises(ValueError, match="more than 500 descriptors"):
            plait.ProcessPoolExecutor(1, initializer=keep, initargs=ends)
        with plait.ProcessPoolExecutor(1, initializer=keep, initargs=ends[:300]) as pool:
            assert pool.submit(lambda: kept[299].fileno() > 0).result(LIMIT)
    finally:
        for end in ends:
            end.close()


def test_a_pool_as_multiprocessing_has_it_takes_them_too():
    value = SPAWN.Value("i", 0)

    def add(n):
        with kept[0]:
            kept[0].value += n

    with plait.Pool(2, keep, (value,)) as pool:
        pool.map(add, range(10))
    assert value.value == sum(range(10))
