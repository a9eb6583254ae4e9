"""Large data of tasks: what arrives, and whose memory it is."""

import array
import gc
import os
import pickle
import random
from collections.abc import Iterator

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import until

import plait
from plait import _processes

LIMIT = 60
LARGE = 1 << 20


def in_use(pool: plait.ProcessPoolExecutor) -> int:
    """How many bytes of the arena of requests are allocated."""
    gc.collect()
    return pool._outbound._arena.in_use


def back(value):
    return value


def remade(value):
    return value.copy()


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 65_537, LARGE, 33 * LARGE + 5])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_of_every_size(pool, kind, size):
    sent = kind(random.Random(size).randbytes(size))
    got = pool.submit(back, sent).result(LIMIT)
    assert type(got) is kind
    assert got == sent


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_mixture(pool, size):
    sent = [os.urandom(size), {"a": numpy.arange(size)}, "x" * size, bytearray(size), [1, 2]]
    got = pool.submit(back, sent).result(LIMIT)
    assert got[0] == sent[0]
    assert (got[1]["a"] == sent[1]["a"]).all()
    assert got[2:] == sent[2:]


TYPES = ["f8", "i2", "?", "c16", "M8[s]", "S3", [("a", "i4"), ("b", "f8")]]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", TYPES)
def test_arrays_keep_what_they_are(pool, dtype, order):
    size = 150_000 * numpy.dtype(dtype).itemsize
    # Ones and zeros: a value of each type.
    sent = numpy.frombuffer(random.randbytes(size).translate(bytes([0, 1] * 128)), dtype)
    sent = sent.reshape((300, 500), order=order)
    got = pool.submit(remade, sent).result(LIMIT)
    assert got.dtype == sent.dtype
    assert got.shape == sent.shape
    assert got.tobytes() == sent.tobytes()


def is_writable(value):
    return value.flags.writeable


@pytest.mark.parametrize("size", [100, LARGE])
def test_arrays_are_writable_as_the_original_was(pool, size):
    writable, fixed = numpy.ones(size), numpy.ones(size)
    fixed.flags.writeable = False
    assert pool.submit(is_writable, writable).result(LIMIT)
    assert not pool.submit(is_writable, fixed).result(LIMIT)
    for sent in (writable, fixed):
        assert pool.submit(back, sent).result(LIMIT).flags.writeable is sent.flags.writeable
        assert pool.submit(remade, sent).result(LIMIT).flags.writeable


@pytest.mark.parametrize("size", [100, LARGE])
def test_arrays_with_gaps_are_writable_as_the_original_was(pool, size):
    writable = numpy.arange(2 * size).reshape(2, size)[:, ::2].T
    fixed = writable[::2]
    fixed.flags.writeable = False
    for sent in (writable, fixed):
        got = pool.submit(back, sent).result(LIMIT)
        assert (got == sent).all()
        assert got.flags.writeable is sent.flags.writeable


def write(value):
    value[:] = 7
    return int(value.sum())


def test_a_write_stays_where_it_is_made(pool):
    sent = numpy.zeros(LARGE, dtype="u1")
    futures = [pool.submit(write, sent) for _ in range(4)]
    assert [future.result(LIMIT) for future in futures] == [7 * LARGE] * 4
    assert not sent.any()
    got = pool.submit(back, sent).result(LIMIT)
    got[:] = 9
    assert not sent.any()


def write_some(value, at):
    value[at] = 1
    return value


def part(value, start, stop):
    return value[start:stop]


def test_a_view_of_an_argument_comes_back_right(pool):
    sent = numpy.arange(LARGE)
    for start, stop in [(0, LARGE), (5, LARGE), (LARGE // 3, LARGE // 2), (1, 100_001)]:
        assert (pool.submit(part, sent, start, stop).result(LIMIT) == sent[start:stop]).all()
    for at in (0, 12_345, LARGE - 1):
        got = pool.submit(write_some, sent, at).result(LIMIT)
        assert got[at] == 1
        got[at] = sent[at]
        assert (got == sent).all()


def part_beside(value):
    value[:10] = -1
    return value[LARGE // 2 :]


def test_only_what_comes_back_need_be_untouched(pool):
    sent = numpy.arange(LARGE)
    assert (pool.submit(part_beside, sent).result(LIMIT) == sent[LARGE // 2 :]).all()


def test_two_results_of_one_argument_do_not_share_writes(pool):
    first, second = pool.submit(twice, numpy.zeros(LARGE)).result(LIMIT)
    first[0] = 1
    # As in the worker: there they were one object, here pickle makes it so too.
    assert first is second
    first, second = pool.submit(halves, numpy.zeros(LARGE)).result(LIMIT)
    first[:] = 1
    assert not second.any()


def twice(value):
    return value, value


def halves(value):
    return value[: LARGE // 2], value[LARGE // 2 :]


VIEWS = [
    memoryview(bytes(range(256)) * 1000),
    memoryview(bytearray(200_000)),
    memoryview(b""),
    memoryview(array.array("d", range(50_000))),
    memoryview(array.array("i", range(12))).cast("B").cast("i", (3, 4)),
    memoryview(numpy.arange(60_000).reshape(200, 300)),
    memoryview(numpy.asfortranarray(numpy.arange(60_000).reshape(200, 300))),
    memoryview(numpy.arange(60_000) * 1j),
    memoryview(numpy.arange(600)[::3]),
    memoryview(numpy.zeros((3, 0, 2))),
    memoryview(numpy.array(5)),
    memoryview(numpy.zeros(20_000, dtype=[("a", "i4"), ("b", "f8")])),
]


def remade_view(view):
    return bytes(view.tobytes()), view.format, view.shape, view.readonly


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.format}{view.shape}")
def test_views_keep_format_and_shape(pool, view):
    told = (view.tobytes(), view.format, view.shape, view.readonly)
    assert pool.submit(remade_view, view).result(LIMIT) == told
    got = pool.submit(back, view).result(LIMIT)
    assert type(got) is memoryview
    assert remade_view(got) == told
    if view.contiguous and view.nbytes:
        assert (got.c_contiguous, got.f_contiguous) == (view.c_contiguous, view.f_contiguous)
        assert got.strides == view.strides


def test_views_in_what_only_the_full_pickler_takes(pool):
    view = memoryview(bytearray(LARGE))
    got = pool.submit(lambda: bytes(view[:3])).result(LIMIT)
    assert got == bytes(3)


def test_buffers_of_other_classes(pool):
    sent = pickle.PickleBuffer(bytearray(LARGE))
    assert pool.submit(len, sent).result(LIMIT) == LARGE
    sent = array.array("d", range(100_000))
    assert pool.submit(back, sent).result(LIMIT) == sent


class Column:
    """Buffers of its own as a record batch of Arrow's has them: out of band, each read-only."""

    def __init__(self, *buffers):
        self.buffers = [memoryview(buffer) for buffer in buffers]

    def __reduce_ex__(self, protocol):
        assert protocol == 5
        return Column, tuple(pickle.PickleBuffer(buffer) for buffer in self.buffers)


def shape_of(column):
    return [(bytes(buffer[-3:]), len(buffer), buffer.readonly) for buffer in column.buffers]


def test_classes_that_hand_out_buffers(pool):
    sent = Column(b"validity" * 20, os.urandom(LARGE), bytearray(LARGE))
    before = in_use(pool)
    expected = shape_of(sent)
    assert [each[2] for each in expected] == [True, True, False]
    assert pool.submit(shape_of, sent).result(LIMIT) == expected
    got = pool.submit(back, sent).result(LIMIT)
    assert shape_of(got) == expected
    assert in_use(pool) > before
    del got
    until(lambda: in_use(pool) == before, "the return of its memory")


def test_tables_of_arrow(pool):
    arrow = pytest.importorskip("pyarrow")
    sent = arrow.table({"a": numpy.arange(LARGE), "b": ["x", None] * (LARGE // 2)})
    assert pool.submit(back, sent).result(LIMIT).equals(sent)
    assert pool.submit(len, sent).result(LIMIT) == LARGE


def test_space_returns_when_the_last_view_dies(pool):
    before = in_use(pool)
    sent = numpy.ones(LARGE)
    got = pool.submit(back, sent).result(LIMIT)
    assert in_use(pool) > before
    piece = got[100:200]
    del got
    assert in_use(pool) > before
    assert piece.sum() == 100
    del piece
    until(lambda: in_use(pool) == before, "the return of its memory")


def test_what_lies_in_shared_memory_is_sent_again_without_a_copy(pool):
    before = in_use(pool)
    got = pool.submit(back, numpy.full(LARGE, 5)).result(LIMIT)
    used = in_use(pool)
    assert used > before
    again = [pool.submit(back, got).result(LIMIT) for _ in range(3)]
    # The last request may be let go of after its answer.
    until(lambda: in_use(pool) == used, "the return of what was sent")
    assert [int(each.sum()) for each in again] == [5 * LARGE] * 3
    # Not what was written to, here or there.
    again[0][0] = 6
    assert pool.submit(total, again[0]).result(LIMIT) == 5 * LARGE + 1
    assert pool.submit(write, again[1][:10]).result(LIMIT) == 70
    assert [int(each.sum()) for each in (got, *again[1:])] == [5 * LARGE] * 3
    del got, again
    until(lambda: in_use(pool) == before, "the return of its memory")


def total(value):
    return int(value.sum())


def test_a_small_part_does_not_keep_the_whole(pool):
    before = in_use(pool)
    part_of_it = pool.submit(part, numpy.arange(LARGE), 7, 20_000).result(LIMIT)
    until(lambda: in_use(pool) == before, "the return of its memory")
    assert (part_of_it == numpy.arange(7, 20_000)).all()
    half = pool.submit(part, numpy.arange(LARGE), 7, LARGE // 2).result(LIMIT)
    assert in_use(pool) > before
    assert (half == numpy.arange(7, LARGE // 2)).all()


def arenas():
    """Return the open arenas of pools and of their workers."""
    found = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            if os.readlink(entry).startswith(("/memfd:plait-requests", "/memfd:plait-results")):
                found.add(entry.path)
        except FileNotFoundError:  # the one that lists the folder
            continue
    return found


def test_an_idle_pool_gives_its_memory_back():
    others = arenas()
    with plait.ProcessPoolExecutor(1) as pool:
        kept = pool.submit(remade, numpy.ones(LARGE)).result(LIMIT)
        own = arenas() - others
        assert len({os.stat(file).st_ino for file in own}) == 2
        for _ in range(2):
            # The second time around it has worked again meanwhile.
            pool.submit(remade, numpy.ones(4 * LARGE)).result(LIMIT)
            assert memory(own) >= 2 * 32 * LARGE
            falls_to(8 * LARGE, own)
        assert memory(own) == 8 * LARGE
        assert (kept == 1).all()
        # What goes later is not kept either.
        del kept
        falls_to(0, own)


def falls_to(size, files):
    until(lambda: memory(files) <= size, f"a fall to {size} bytes")


def memory(files):
    # Of one there is a descriptor to write by and one to read by.
    found = {state.st_ino: state.st_blocks for state in map(os.stat, files)}
    return sum(found.values()) * 512


_behind: list[object] = []


def leave_behind(value):
    _behind.append(value[10:20])


def look_behind():
    return [int(value.sum()) for value in _behind]


def clear_behind():
    _behind.clear()


def test_what_a_task_leaves_behind_stays(pool_of_one):
    pool = pool_of_one
    before = in_use(pool)
    for number in range(3):
        pool.submit(leave_behind, numpy.full(LARGE, number)).result(LIMIT)
    pool.submit(back, numpy.full(4 * LARGE, 9)).result(LIMIT)
    assert pool.submit(look_behind).result(LIMIT) == [0, 10, 20]
    assert in_use(pool) >= before + 3 * LARGE * 8
    pool.submit(clear_behind).result(LIMIT)
    # The word that they are gone follows the answer.
    pool.submit(look_behind).result(LIMIT)
    until(lambda: in_use(pool) == before, "the return of its memory")


@pytest.fixture
def pool_of_one() -> Iterator[plait.ProcessPoolExecutor]:
    with plait.ProcessPoolExecutor(1) as pool:
        yield pool


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_keeps_what_it_sees(pool):
    before = in_use(pool)
    array = pool.submit(back, numpy.full(LARGE, 7, "u1")).result(LIMIT)
    go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])
        os.read(go[0], 1)
        same = bool((array == 7).all())
        del array
        os._exit(0 if same else 1)
    os.close(go[0])
    del array
    kept = [pool.submit(back, numpy.full(LARGE, 8, "u1")).result(LIMIT) for _ in range(4)]
    del kept
    assert in_use(pool) >= before + LARGE
    os.close(go[1])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The next that goes lets go of what was kept.
    assert pool.submit(back, numpy.ones(LARGE)).result(LIMIT).all()
    until(lambda: in_use(pool) == before, "the return of its memory")


def test_views_outlive_the_pool():
    pool = plait.ProcessPoolExecutor(1)
    same = pool.submit(back, numpy.arange(LARGE)).result(LIMIT)
    made = pool.submit(remade, same).result(LIMIT)
    unread = pool.submit(remade, same)
    pool.shutdown()
    del pool
    gc.collect()
    expected = numpy.arange(LARGE)
    assert (same == expected).all()
    assert (made == expected).all()
    assert (unread.result(LIMIT) == expected).all()
    made[0] = 5
    assert made[0] == 5


def die_with(value):
    os.kill(os.getpid(), 9)


def test_the_blocks_of_a_dead_worker_come_back(pool):
    before = in_use(pool)
    kept = pool.submit(remade, numpy.arange(LARGE)).result(LIMIT)
    futures = [pool.submit(die_with, numpy.ones(LARGE)) for _ in range(3)]
    for future in futures:
        assert isinstance(future.exception(LIMIT), plait.WorkerDied)
    assert pool.submit(back, 1).result(LIMIT) == 1
    until(lambda: in_use(pool) == before, "the return of its memory")
    assert (kept == numpy.arange(LARGE)).all()


@pytest.fixture
def small_arena(monkeypatch):
    monkeypatch.setattr(_processes, "_arena_size", 4 * LARGE)


@pytest.mark.usefixtures("small_arena")
def test_a_task_larger_than_the_arena_works(pool_of_one):
    sent = numpy.arange(2 * LARGE)
    assert (pool_of_one.submit(back, sent).result(LIMIT) == sent).all()
    data = os.urandom(9 * LARGE)
    assert pool_of_one.submit(back, data).result(LIMIT) == data


@pytest.mark.usefixtures("small_arena")
def test_an_arena_full_of_kept_arrays_stops_nobody(pool_of_one):
    kept = [pool_of_one.submit(back, numpy.full(LARGE, n, "u1")).result(LIMIT) for n in range(20)]
    assert [int(array[0]) for array in kept] == list(range(20))
    assert [int(array.sum()) for array in kept] == [n * LARGE for n in range(20)]


@pytest.mark.usefixtures("small_arena")
def test_results_that_fill_the_arena_of_a_worker_stop_nobody(pool_of_one):
    # 160 MB that are made in the worker and all kept here, and as many unread.
    made = [pool_of_one.submit(numpy.full, LARGE, n) for n in range(20)]
    kept = [future.result(LIMIT) for future in made]
    unread = [pool_of_one.submit(remade, mine) for mine in kept]
    assert pool_of_one.submit(abs, -1).result(LIMIT) == 1
    for n, (mine, future) in enumerate(zip(kept, unread, strict=True)):
        mine[:] += 1
        assert int(mine.sum()) == (n + 1) * LARGE
        assert int(future.result(LIMIT).sum()) == n * LARGE


def test_a_hundred_thousand_unread_futures_stop_nobody(pool):
    # More than the rings and all claims have room for, many times over.
    futures = [pool.submit(bytes, 300) for _ in range(100_000)]
    assert pool.submit(abs, -1).result(2 * LIMIT) == 1
    assert all(future.result(LIMIT) == bytes(300) for future in futures)


@pytest.mark.usefixtures("small_arena")
def test_unread_results_stop_nobody(pool_of_one):
    futures = [pool_of_one.submit(numpy.full, LARGE, n, "u1") for n in range(40)]
    assert [int(future.result(LIMIT).sum()) for future in futures] == [n * LARGE for n in range(40)]


def unlike(value):
    raise ValueError(value)


def test_an_exception_can_be_large(pool):
    error = pool.submit(unlike, numpy.arange(LARGE)).exception(LIMIT)
    assert isinstance(error, ValueError)
    assert (error.args[0] == numpy.arange(LARGE)).all()


TABLE = numpy.arange(LARGE)


def look_up(at):
    return int(TABLE[at])


def test_globals_and_closures_that_are_large(pool):
    assert pool.submit(look_up, 77).result(LIMIT) == 77
    table = numpy.arange(LARGE) * 2
    assert [pool.submit(lambda: int(table[n])).result(LIMIT) for n in range(3)] == [0, 2, 4]


class Cut(Exception):
    pass


class Fails:
    def __reduce__(self):
        raise Cut


def test_what_cannot_be_pickled_leaves_nothing(pool):
    before = in_use(pool)
    future = pool.submit(back, [bytes(LARGE), numpy.ones(LARGE), Fails()])
    assert isinstance(future.exception(LIMIT), Cut)
    del future
    until(lambda: in_use(pool) == before, "the return of its memory")


def test_cancelled_tasks_leave_nothing():
    with plait.ProcessPoolExecutor(1) as pool:
        futures = [pool.submit(back, numpy.ones(LARGE)) for _ in range(10)]
        for future in futures:
            future.cancel()
        for future in futures:
            # One that had begun was stopped, or had ended.
            assert future.cancelled() or type(future.exception(LIMIT)) in (plait.Killed, type(None))
        del futures, future
        assert pool.submit(back, 3).result(LIMIT) == 3
        until(lambda: in_use(pool) == 0, "the return of its memory")


def initialize(value):
    _behind.append(value)


def test_initializers_take_large_arguments():
    initargs = (numpy.ones(LARGE),)
    with plait.ProcessPoolExecutor(2, initializer=initialize, initargs=initargs) as pool:
        assert list(pool.map(total_behind, range(4))) == [LARGE] * 4


def total_behind(_):
    return int(sum(value.sum() for value in _behind))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300_000), st.sampled_from("bBna"), st.booleans(), st.booleans()),
        max_size=12,
    )
)
def test_any_sizes_and_lifetimes(pool, tasks):
    before = in_use(pool)
    kept, futures = [], []
    for size, kind, keep, read in tasks:
        sent = {
            "b": lambda n: random.randbytes(n),
            "B": lambda n: bytearray(random.randbytes(n)),
            "n": lambda n: numpy.frombuffer(random.randbytes(n), "u1"),
            "a": lambda n: numpy.frombuffer(bytearray(random.randbytes(n)), "u1"),
        }[kind](size)
        future = pool.submit(remade if keep and kind in "na" else back, sent)
        if read:
            kept.append((sent, future.result(LIMIT)))
        else:
            futures.append((sent, future))
    kept += [(sent, future.result(LIMIT)) for sent, future in futures]
    for sent, got in kept:
        assert bytes(got) == bytes(sent)
        assert type(got) is type(sent)
    kept.clear()
    futures.clear()
    if tasks:
        del sent, got, future
    until(lambda: in_use(pool) == before, "the return of its memory")


def both(first, second):
    return type(first), first is second, first


def test_bytes_that_are_mapped_anew_arrive_as_bytes(pool):
    data = os.urandom(1 << 20) * 33 + b"end"
    kind, same, back = pool.submit(both, data, data).result(LIMIT)
    assert (kind, same) == (bytes, True)
    assert back == data
    back = pool.submit(same_object, data).result(LIMIT)
    assert type(back) is bytes
    assert back == data


def same_object(value):
    return value
