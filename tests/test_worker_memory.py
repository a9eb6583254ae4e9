"""`max_memory=`: workers that take too much are replaced between tasks, or killed in one."""

import os
import time

import pytest

import plait

LIMIT = 60
MEGA = 1_000_000

kept = []


def keep(size):
    """Fill so many bytes of memory, and keep them."""
    kept.append(b"\1" * size)
    return os.getpid()


def private():
    """The private memory of this process, in bytes."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


@pytest.fixture(scope="module")
def base():
    """What a worker has before its first task."""
    with plait.ProcessPoolExecutor(1) as pool:
        return pool.submit(private).result(LIMIT)


def test_a_worker_that_has_grown_is_replaced_after_the_task(base):
    with plait.ProcessPoolExecutor(1, max_memory=base + 100 * MEGA) as pool:
        first = pool.submit(keep, 40 * MEGA).result(LIMIT)
        assert pool.submit(keep, 40 * MEGA).result(LIMIT) == first
        # The task that takes it over the limit ends as any other.
        assert pool.submit(keep, 40 * MEGA).result(LIMIT) == first
        second = pool.submit(keep, 40 * MEGA).result(LIMIT)
        assert second != first
        assert pool.submit(private).result(LIMIT) < base + 60 * MEGA


def test_nothing_is_lost_where_many_are_replaced(base):
    with plait.ProcessPoolExecutor(2, max_memory=base + 30 * MEGA) as pool:
        futures = [pool.submit(keep, 12 * MEGA) for _ in range(40)]
        pids = [future.result(LIMIT) for future in futures]
    # Three tasks make a worker's limit full.
    assert max(pids.count(pid) for pid in pids) <= 3
    assert len(set(pids)) >= 14


@pytest.mark.skipif("PLAIT_SANITIZER" in os.environ, reason="a sanitizer keeps what is freed")
def test_what_is_freed_does_not_count(base):
    def use(size):
        len(b"\1" * size)
        return os.getpid()

    with plait.ProcessPoolExecutor(1, max_memory=base + 100 * MEGA) as pool:
        assert len({pool.submit(use, 80 * MEGA).result(LIMIT) for _ in range(5)}) == 1


def test_a_task_that_takes_twice_as_much_is_killed(base):
    def devour():
        while True:
            # However late anybody looks, no more than that.
            if len(kept) < 600:
                kept.append(b"\1" * MEGA)
            time.sleep(0.001)

    limit = base + 50 * MEGA
    with plait.ProcessPoolExecutor(2, max_memory=limit) as pool:
        doomed = pool.submit(devour)
        others = [pool.submit(abs, -1) for _ in range(20)]
        error = doomed.exception(LIMIT)
        assert isinstance(error, plait.WorkerDied)
        assert "of private memory, more than twice max_memory" in str(error)
        assert f"({-(-limit // MEGA)} MB)" in str(error)
        assert [other.result(LIMIT) for other in others] == [1] * 20


def test_an_initializer_that_takes_too_much_breaks_the_pool(base):
    pool = plait.ProcessPoolExecutor(
        1, initializer=keep, initargs=(80 * MEGA,), max_memory=base + 50 * MEGA
    )
    with pool:
        error = pool.submit(abs, 1).exception(LIMIT)
    assert "more than max_memory=" in str(error)


def test_finalizers_of_a_replaced_worker_run(base, tmp_path):
    def register():
        import atexit

        atexit.register((tmp_path / "left").touch)
        keep(80 * MEGA)

    with plait.ProcessPoolExecutor(1, max_memory=base + 50 * MEGA) as pool:
        pool.submit(register).result(LIMIT)
        pool.submit(abs, 1).result(LIMIT)
        assert (tmp_path / "left").exists()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_what_is_no_limit(value, error):
    with pytest.raises(error, match="max_memory"):
        plait.ProcessPoolExecutor(1, max_memory=value)
