"""How large the chunks of a map become."""

import pytest

from plait._mapping.sizing import (
    AHEAD,
    DEEP,
    GROWTH,
    LARGEST,
    LONGEST,
    PARTS,
    SHALLOW,
    TARGET,
    Sizer,
)


def learn_steadily(sizer: Sizer, item_seconds: float, chunks: int = 30) -> int:
    for _ in range(chunks):
        count = sizer.size(None, None)
        sizer.learn(count, count * item_seconds)
    return sizer.size(None, None)


def test_it_starts_with_one_item_and_grows_by_steps():
    sizer = Sizer(2, None)
    sizes = []
    for _ in range(5):
        sizes.append(sizer.size(None, None))
        sizer.learn(sizes[-1], sizes[-1] * 1e-9)
    assert sizes == [GROWTH**n for n in range(5)]


@pytest.mark.parametrize("item_seconds", [1e-6, 1e-5, 3.3e-4])
def test_it_comes_to_a_chunk_of_the_time_aimed_at(item_seconds):
    size = learn_steadily(Sizer(2, None), item_seconds)
    assert size == pytest.approx(TARGET / item_seconds, abs=1)


def test_it_stays_within_bounds():
    assert learn_steadily(Sizer(2, None), 0.0) == LARGEST
    assert learn_steadily(Sizer(2, None), 10.0) == 1


def test_a_heavy_item_makes_the_next_chunks_small():
    sizer = Sizer(2, None)
    assert learn_steadily(sizer, 1e-5) == 100
    sizer.learn(100, 0.5)
    assert sizer.size(None, None) == 1


def test_many_small_chunks_that_end_late_do_not_make_it_leap():
    sizer = Sizer(2, None)
    for _ in range(16):
        sizer.learn(1, 1e-9)
    assert sizer.size(None, None) == GROWTH


def test_the_last_chunks_are_smaller():
    sizer = Sizer(4, None)
    size = learn_steadily(sizer, 1e-5)
    assert sizer.size(size * PARTS * 4, None) == size
    assert sizer.size(160, None) == 160 // (SHALLOW * 4)
    assert sizer.size(1, None) == 1


def test_chunks_are_larger_while_much_is_left():
    sizer = Sizer(2, None)
    size = learn_steadily(sizer, 1e-5)
    assert sizer.size(1_000_000, None) == GROWTH * size
    for _ in range(5):
        count = sizer.size(1_000_000, None)
        sizer.learn(count, count * 1e-5)
    assert count == pytest.approx(LONGEST / 1e-5, abs=1)
    # A part of what is left for each of two, where that is less.
    assert sizer.size(8_000, None) == pytest.approx(8_000 / (PARTS * 2), abs=1)
    # Nobody knows that much is left.
    assert sizer.size(None, None) == pytest.approx(size, abs=1)


def test_a_bound_leaves_something_for_every_worker():
    sizer = Sizer(4, None)
    learn_steadily(sizer, 1e-5)
    assert sizer.size(None, 64) == 64 // (SHALLOW * 4)
    assert sizer.size(None, 1) == 1


def test_what_the_user_wants_is_what_he_gets():
    sizer = Sizer(4, 7)
    assert learn_steadily(sizer, 1e-9) == 7
    assert sizer.size(3, 2) == 7


def test_the_depth_follows_the_work():
    sizer = Sizer(2, None)
    assert sizer.depth() == SHALLOW * 2
    learn_steadily(sizer, 10.0)
    assert sizer.depth() == SHALLOW * 2
    sizer = Sizer(2, None)
    learn_steadily(sizer, 1e-5)
    assert sizer.depth() == pytest.approx(AHEAD / TARGET * 2, abs=1)
    sizer = Sizer(2, None)
    learn_steadily(sizer, 1e-9)
    assert sizer.depth() == DEEP * 2


def test_larger_chunks_are_not_as_many():
    sizer = Sizer(2, None)
    learn_steadily(sizer, 1e-4)
    assert sizer.depth(1_000_000) < sizer.depth()
