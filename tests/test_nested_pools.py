"""Pools inside of workers."""

import asyncio
import os
import select
import signal

import pytest

import plait

LIMIT = 60

kept = []


def depth(levels):
    """The pids of a pool in a pool in a pool."""
    if not levels:
        return [os.getpid()]
    with plait.ProcessPoolExecutor(1) as pool:
        return [os.getpid(), *pool.submit(depth, levels - 1).result(LIMIT)]


def test_pools_in_pools():
    pids = depth(3)
    assert pids[0] == os.getpid()
    assert len(set(pids)) == 4


def spread(numbers):
    with plait.ProcessPoolExecutor(2) as pool:
        return list(pool.map(abs, numbers))


def test_several_workers_with_pools_at_once():
    with plait.ProcessPoolExecutor(2) as pool:
        results = list(pool.map(spread, [[-1, -2], [-3], [], [-4, -5, -6]]))
    assert results == [[1, 2], [3], [], [4, 5, 6]]


def open_pool():
    pool = plait.ProcessPoolExecutor(2)
    kept.append(pool)
    inner = [pool.submit(os.getpid).result(LIMIT) for _ in range(2)]
    return [*pool._pool.pids(), *inner]


@pytest.mark.parametrize("how", ["retires", "is killed"])
def test_an_inner_pool_ends_with_its_worker(how):
    with plait.ProcessPoolExecutor(1) as pool:
        inner = set(pool.submit(open_pool).result(LIMIT))
        fds = {os.pidfd_open(pid) for pid in inner}
        if how == "is killed":
            pool.submit(os.kill, pool.submit(os.getpid).result(LIMIT), signal.SIGKILL)
        else:
            pool.shutdown()
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        left = set(fds)
        while left:
            ready = poll.poll(LIMIT * 1000)
            assert ready, "inner workers are still there"
            for fd, _ in ready:
                poll.unregister(fd)
                left.discard(fd)
        for fd in fds:
            os.close(fd)


def test_other_engines_inside_of_a_worker():
    def engines():
        async def main():
            with plait.ThreadPoolExecutor(2) as pool:
                return await asyncio.gather(*(pool.submit(abs, -n) for n in range(3)))

        return plait.run(main())

    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(engines).result(LIMIT) == [0, 1, 2]
