"""`share()` of a pool: objects that are placed once, and the handles that tasks take."""

import array
import copy
import gc
import os
import pickle
import threading
import time
import weakref
from collections.abc import Iterator

import numpy
import pytest
from tasks import until

import plait
from plait import _processes

LIMIT = 60
LARGE = 1 << 20


@pytest.fixture
def pool_of_one() -> Iterator[plait.ProcessPoolExecutor]:
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


def in_use(pool):
    gc.collect()
    return pool._outbound._arena.in_use


def returns_to(pool, before):
    """Wait until no more of the arena is in use than before: workers say when they have done."""
    deadline = time.monotonic() + LIMIT
    while in_use(pool) > before and time.monotonic() < deadline:
        time.sleep(0.001)
    return in_use(pool) <= before


def total(handle):
    return int(handle.get().sum())


def look(handle):
    value = handle.get()
    return type(value), value.flags.writeable, int(value.sum()), os.getpid()


def test_the_bytes_are_carried_once():
    size = 50_000_000
    with plait.ProcessPoolExecutor(2) as pool:
        handle = pool.share(numpy.ones(size, "u1"))
        assert isinstance(handle, plait.Shared)
        assert list(pool.map(total, [handle] * 100, chunksize=1)) == [size] * 100
        found = pool.statistics()
        assert size < found.bytes_sent < 1.1 * size
        assert found.bytes_received < LARGE
        assert size <= in_use(pool) < 1.1 * size
        del handle
        assert returns_to(pool, 0)


def meet(handle, here, there):
    """Look at it in two workers at the same time."""
    here.touch()
    while not there.exists():
        time.sleep(0.001)
    return look(handle)


def test_two_workers_see_it_and_cannot_write(pool, tmp_path):
    handle = pool.share(numpy.arange(LARGE))
    names = tmp_path / "a", tmp_path / "b"
    found = [pool.submit(meet, handle, *pair) for pair in (names, names[::-1])]
    first, second = (future.result(LIMIT) for future in found)
    assert first[:3] == second[:3] == (numpy.ndarray, False, LARGE * (LARGE - 1) // 2)
    assert first[3] != second[3]
    assert isinstance(pool.submit(spoil, handle).exception(LIMIT), ValueError)


def spoil(handle):
    handle.get()[0] = 1


def test_the_parent_has_an_equal_that_is_read_only(pool):
    sent = numpy.arange(LARGE)
    handle = pool.share({"a": sent, "b": [1, 2]})
    sent[:] = 0
    got = handle.get()
    assert got is handle.get()
    assert (got["a"] == numpy.arange(LARGE)).all()
    assert not got["a"].flags.writeable
    assert got["b"] == [1, 2]


def pages(value):
    """Return how many bytes of the array are the kernel's copy for this process alone."""
    address, size = value.__array_interface__["data"][0], value.nbytes
    with open("/proc/self/smaps") as file:
        lines = iter(file.read().splitlines())
    for line in lines:
        start, dash, rest = line.partition("-")
        if dash and " " in rest and ":" not in start:
            inside = int(start, 16) <= address and address + size <= int(rest.split()[0], 16)
            name = line
        elif inside and line.startswith("Private_Dirty:"):
            return name, int(line.split()[1]) * 1024
    raise AssertionError("the array lies nowhere")


def where(handle):
    return pages(handle.get())


def test_it_is_the_pages_that_are_shared(pool):
    handle = pool.share(numpy.ones(16 * LARGE, "u1"))
    name, private = pool.submit(where, handle).result(LIMIT)
    assert "plait-requests" in name
    assert private < LARGE


# Those with gaps between their items too.
SMALL = [
    numpy.arange(24).reshape(2, 3, 4)[:, ::2].transpose(2, 0, 1),
    numpy.arange(5),
    numpy.zeros((0, 3)),
    numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
    numpy.arange(12)[::3],
    [numpy.arange(3), numpy.ones(LARGE), numpy.arange(4, dtype="c16")],
]


def flags(handle):
    value = handle.get()
    values = value if isinstance(value, list) else [value]
    return [(each.tolist(), each.flags.writeable, each.flags.aligned) for each in values]


@pytest.mark.parametrize("value", SMALL, ids=str)
def test_small_arrays_are_read_only_too(pool, value):
    values = value if isinstance(value, list) else [value]
    expected = [(each.tolist(), False, True) for each in values]
    assert pool.submit(flags, pool.share(value)).result(LIMIT) == expected


def kinds(handle):
    return [(type(each), each) for each in handle.get()]


def test_what_is_no_array(pool):
    sent = [b"x" * LARGE, "text", bytearray(b"y" * LARGE), array.array("d", [1, 2]), None, {1: 2}]
    got = pool.submit(kinds, pool.share(sent)).result(LIMIT)
    assert got == [(type(each), each) for each in sent]


def view_of(handle):
    view = handle.get()
    return view.readonly, view.format, view.shape, bytes(view[-1:])


def test_views(pool):
    handle = pool.share(memoryview(bytearray(b"z" * LARGE)))
    assert pool.submit(view_of, handle).result(LIMIT) == (True, "B", (LARGE,), b"z")


def test_it_can_be_anywhere_in_the_arguments(pool):
    handle = pool.share(numpy.arange(10))
    assert pool.submit(deep, {"a": [(handle,)]}, key=handle).result(LIMIT) == 90
    assert pool.submit(lambda: total(handle)).result(LIMIT) == 45
    assert list(pool.map(scaled, [1, 2], [handle, handle])) == [45, 90]
    outer = pool.share({"inner": handle, "class": Thing})
    assert pool.submit(inner_of, outer).result(LIMIT) == (45, "Thing")
    assert outer.get()["inner"] is handle


class Thing:
    pass


def deep(tree, key):
    return total(tree["a"][0][0]) + total(key)


def scaled(factor, handle):
    return factor * total(handle)


def inner_of(outer):
    value = outer.get()
    return total(value["inner"]), value["class"].__name__


def test_a_shared_object_keeps_what_is_in_it(pool):
    before = in_use(pool)
    outer = pool.share({"inner": pool.share(numpy.ones(LARGE)), "class": Thing})
    assert pool.submit(inner_of, outer).result(LIMIT) == (LARGE, "Thing")
    assert total(outer.get()["inner"]) == LARGE
    del outer
    assert returns_to(pool, before)


TABLE = None


def by_global(at):
    return int(TABLE.get()[at])


def test_a_global_can_be_one(pool, monkeypatch):
    monkeypatch.setitem(globals(), "TABLE", pool.share(numpy.arange(LARGE)))
    source = "def reads(at): return int(table.get()[at])"
    variables = {"table": TABLE}
    exec(source, variables)
    assert list(pool.map(variables["reads"], [5, 6])) == [5, 6]


def same(handle):
    return handle


def several(handle):
    return [handle, {"again": handle}, handle.get()[:3].copy()]


def test_it_comes_back_as_it_was(pool):
    handle = pool.share(numpy.arange(LARGE))
    assert pool.submit(same, handle).result(LIMIT) is handle
    first, second, _ = pool.submit(several, handle).result(LIMIT)
    assert first is second["again"] is handle
    assert list(pool.map(same, [handle] * 5)) == [handle] * 5


def test_an_answer_keeps_what_it_names(pool):
    before = in_use(pool)
    future = pool.submit(same, pool.share(numpy.ones(LARGE)))
    gc.collect()
    # Another task that has gone all the way: the first has been answered, and forgotten.
    assert pool.submit(abs, -1).result(LIMIT) == 1
    assert total(future.result(LIMIT)) == LARGE
    assert pool.submit(total, future.result()).result(LIMIT) == LARGE
    del future
    assert returns_to(pool, before)


def refuse(handle):
    raise LookupError(handle)


def test_an_exception_can_have_one(pool):
    handle = pool.share([1])
    error = pool.submit(refuse, handle).exception(LIMIT)
    assert isinstance(error, LookupError)
    assert error.args[0] is handle


_kept: list[object] = []


def keep(handle):
    _kept.append(handle)
    return id(handle.get())


def look_at_kept():
    return total(_kept[-1])


def give_kept():
    return _kept[-1]


def let_go():
    _kept.clear()


def test_a_worker_that_keeps_a_handle_keeps_the_object(pool_of_one):
    pool = pool_of_one
    handle = pool.share(numpy.ones(LARGE))
    first = pool.submit(keep, handle).result(LIMIT)
    # Made once for each worker.
    assert pool.submit(keep, handle).result(LIMIT) == first
    assert pool.submit(give_kept).result(LIMIT) is handle
    gone = weakref.ref(handle)
    del handle
    # The thread that completed a future that gave it may have that for a moment.
    until(lambda: gone() is None, "the end of the handle")
    assert pool.submit(look_at_kept).result(LIMIT) == LARGE
    assert in_use(pool) >= 8 * LARGE
    error = pool.submit(give_kept).exception(LIMIT)
    assert isinstance(error, RuntimeError)
    assert "no handle" in str(error)
    pool.submit(let_go).result(LIMIT)
    assert returns_to(pool, 0)


def keep_part(handle):
    _kept.append(handle.get()[:2])


def test_a_view_of_it_keeps_the_memory(pool_of_one):
    pool = pool_of_one
    handle = pool.share(numpy.ones(LARGE))
    pool.submit(keep_part, handle).result(LIMIT)
    mine = handle.get()[5:7]
    del handle
    gc.collect()
    pool.submit(abs, 1).result(LIMIT)
    assert in_use(pool) >= 8 * LARGE
    pool.submit(let_go).result(LIMIT)
    pool.submit(abs, 1).result(LIMIT)
    assert in_use(pool) >= 8 * LARGE
    assert mine.sum() == 2
    del mine
    assert returns_to(pool, 0)


def die_once(handle, flag):
    value = total(handle)
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), 9)
    return value


def test_another_worker_and_another_attempt_have_it(pool, tmp_path):
    handle = pool.share(numpy.ones(LARGE))
    again = plait.task(die_once, retries=1)
    future = pool.submit(again, handle, tmp_path / "flag")
    assert future.result(LIMIT) == LARGE
    assert pool.submit(total, handle).result(LIMIT) == LARGE


def test_workers_that_are_replaced_have_it():
    with plait.ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        handle = pool.share(numpy.ones(LARGE))
        found = [pool.submit(look, handle) for _ in range(3)]
        pids = {future.result(LIMIT)[3] for future in found}
        assert len(pids) == 3
        del handle, found
        assert returns_to(pool, 0)


def test_a_dropped_handle_goes_with_its_tasks(pool):
    before = in_use(pool)
    futures = [pool.submit(total, pool.share(numpy.full(LARGE, n))) for n in range(10)]
    assert [future.result(LIMIT) for future in futures] == [n * LARGE for n in range(10)]
    assert returns_to(pool, before)


def test_many_come_and_go(pool):
    before = in_use(pool)
    for n in range(600):
        assert pool.submit(total, pool.share(numpy.full(100, n))).result(LIMIT) == 100 * n
    assert returns_to(pool, before)


def test_multiprocessings_pool_has_it():
    with plait.Pool(2) as pool:
        handle = pool.share(numpy.ones(LARGE))
        assert pool.map(total, [handle] * 4) == [LARGE] * 4
        assert pool.starmap(scaled, [(2, handle)]) == [2 * LARGE]
    with pytest.raises(ValueError, match="not running"):
        pool.share(1)


def test_serial(monkeypatch):
    monkeypatch.setenv("PLAIT_SERIAL", "1")
    with plait.ProcessPoolExecutor(2) as pool:
        sent = numpy.ones(LARGE)
        handle = pool.share({"a": sent, "inner": pool.share([7])})
        sent[:] = 2
        assert pool.submit(lambda: handle.get()["a"].sum()).result() == LARGE
        assert not handle.get()["a"].flags.writeable
        assert handle.get()["inner"].get() == [7]
        assert pool.submit(same, handle).result() is handle


@pytest.fixture
def small_arena(monkeypatch):
    monkeypatch.setattr(_processes, "_arena_size", 4 * LARGE)


@pytest.mark.usefixtures("small_arena")
def test_what_the_arena_has_no_room_for():
    with plait.ProcessPoolExecutor(2) as pool:
        value = [numpy.arange(LARGE), numpy.arange(3), numpy.ones(3 * LARGE, "u1")]
        handle = pool.share(value)
        expected = [(False, True, int(each.sum())) for each in value]
        for _ in range(4):
            assert pool.submit(sums, handle).result(LIMIT) == expected
        assert [int(each.sum()) for each in handle.get()] == [each[2] for each in expected]


def sums(handle):
    return [(a.flags.writeable, a.flags.aligned, int(a.sum())) for a in handle.get()]


def test_after_the_end():
    pool = plait.ProcessPoolExecutor(1)
    handle = pool.share(numpy.ones(LARGE))
    future = pool.submit(same, pool.share([3]))
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.share(1)
    del pool
    gc.collect()
    assert total(handle) == LARGE
    assert future.result(LIMIT).get() == [3]


def assert_misplaced(error):
    assert isinstance(error, RuntimeError)
    assert "pool.share(handle.get())" in str(error)


def test_a_handle_of_another_pool_is_refused(pool):
    with plait.ProcessPoolExecutor(1) as other:
        error = pool.submit(total, other.share([1])).exception(LIMIT)
    assert_misplaced(error)
    assert "another pool" in str(error)
    assert any("argument 1" in note for note in error.__notes__)
    with pytest.raises(RuntimeError, match="another pool"):
        pool.share([foreign_handle()])


def foreign_handle():
    with plait.ProcessPoolExecutor(1) as other:
        return other.share([1])


def test_elsewhere_it_cannot_be_pickled(pool):
    handle = pool.share([1])
    with pytest.raises(RuntimeError) as caught:
        pickle.dumps(handle)
    assert_misplaced(caught.value)
    process = plait.Process(target=total, args=(handle,))
    with pytest.raises(RuntimeError) as caught:
        process.start()
    assert_misplaced(caught.value)
    assert copy.deepcopy([handle])[0] is copy.copy(handle) is handle
    with pytest.raises(TypeError):
        plait.Shared()
    assert isinstance(pool.submit(dump, handle).exception(LIMIT), RuntimeError)


def dump(handle):
    pickle.dumps(handle)


def send_on(handle):
    with plait.ProcessPoolExecutor(1) as pool:
        own = pool.share([5])
        assert pool.submit(same, own).result(LIMIT) is own
        refused = pool.submit(same, handle).exception(LIMIT)
        return str(refused), pool.submit(total, pool.share(handle.get())).result(LIMIT), handle


def test_pools_of_workers_have_handles_of_their_own(pool):
    handle = pool.share(numpy.ones(LARGE))
    text, found, back = pool.submit(send_on, handle).result(2 * LIMIT)
    assert "another pool" in text
    assert found == LARGE
    assert back is handle


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError


class Unreadable:
    def __reduce__(self):
        return int, ("x",)


def test_what_cannot_be_pickled_or_unpickled(pool):
    before = in_use(pool)
    with pytest.raises(ZeroDivisionError) as caught:
        pool.share([numpy.ones(LARGE), Unpicklable()])
    assert any("to share it" in note for note in caught.value.__notes__)
    del caught
    assert returns_to(pool, before)
    handle = pool.share(Unreadable())
    for _ in range(2):
        assert isinstance(pool.submit(total, handle).exception(LIMIT), ValueError)
        with pytest.raises(ValueError, match="invalid literal"):
            handle.get()


def test_threads_that_get_it_at_once_have_one_object(pool):
    handle = pool.share([numpy.ones(LARGE)])
    found, start = [], threading.Barrier(8)

    def get():
        start.wait()
        found.append(handle.get())

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each is found[0] for each in found)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(pool):
    before = in_use(pool)
    read, unread = pool.share(numpy.full(LARGE, 7, "u1")), pool.share([1])
    assert total(read) == 7 * LARGE
    go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])
        os.read(go[0], 1)
        try:
            unread.get()
        except RuntimeError as error:
            right = "forked" in str(error) and total(read) == 7 * LARGE
        else:
            right = False
        os._exit(0 if right else 1)
    os.close(go[0])
    del read, unread
    gc.collect()
    kept = [pool.submit(total, pool.share(numpy.full(LARGE, 8, "u1"))) for _ in range(4)]
    assert [future.result(LIMIT) for future in kept] == [8 * LARGE] * 4
    # The child sees it still.
    assert in_use(pool) >= before + LARGE
    os.close(go[1])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The next that goes lets go of what was kept.
    assert total(pool.share(numpy.ones(LARGE))) == LARGE
    assert returns_to(pool, before)


def test_handles_can_be_keys_and_are_collected(pool):
    handle = pool.share([1])
    assert {handle: 1}[handle] == 1
    assert "Shared" in repr(handle)
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None
