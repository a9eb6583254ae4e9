"""How many items a chunk gets."""

__all__ = ["Sizer"]

# How much work a chunk should be, in seconds. What a chunk costs beside its
# items is 50 to 100 microseconds.
TARGET = 1e-3
# While much is known to be left a chunk may be more: one of so many parts of
# each worker's share of it (guided self-scheduling, Polychronopoulos and Kuck
# 1987), to at most so many seconds. A chunk costs the parent, which has no core
# of its own, as much as its worker: 2,000 items of 0.9 ms ran at 0.87 to 0.88
# of the best schedule with chunks of a millisecond, at 0.95 with these (the
# heavy tails of benches/results/pool.md).
PARTS, LONGEST = 8, 10e-3
# How much work should be under way for each worker, in seconds: a busy
# interpreter looks at the pool only every 5 ms.
AHEAD = 10e-3
# Beyond this a chunk's own cost is no matter any more.
LARGEST = 32_768
# So many chunks per worker are under way, at least and at most.
SHALLOW, DEEP = 2, 16
# A chunk may be so many times as large as the one that it was learned from.
GROWTH = 4


class Sizer:
    """Sizes chunks by how long earlier ones took.

    The first chunks have one item. How long an item takes is averaged over
    the chunks, each counting half as much as the next: sizes follow an input
    whose items get heavier. What a chunk tells, the next may use, so nothing
    here is right for long, nor has to be: a chunk that was too large costs
    the balance of a few milliseconds of work.

    Args:
        workers: how many workers there are.
        fixed: the size that the user wants; None to adapt it.
        room: how many tasks the pool takes before whoever sends has to wait.

    """

    def __init__(self, workers: int, fixed: int | None, room: int | None = None) -> None:
        """Start with one item a chunk, or with what the user wants."""
        self._room = room
        self._workers = workers
        self.fixed = fixed
        # The next chunk gets no more than this.
        self._most = 1
        self._seconds = 0.0
        self._items = 0.0

    def learn(self, count: int, seconds: float) -> None:
        """Take in that a chunk of `count` items took so long."""
        self._seconds = self._seconds / 2 + seconds
        self._items = self._items / 2 + count
        self._most = min(GROWTH * count, LARGEST)

    def size(self, left: int | None, bound: int | None) -> int:
        """Tell how many items the next chunk gets.

        Args:
            left: how many there are, if that is known: the last chunks are
                smaller, so that the workers end together.
            bound: how many may be taken ahead at all, if the user said so.

        """
        if self.fixed is not None:
            return self.fixed
        item = self._item()
        wanted, most = TARGET, self._most
        if left is not None:
            wanted = max(TARGET, min(left * item / (PARTS * self._workers), LONGEST))
            most = min(most, left // (SHALLOW * self._workers))
        size = min(int(wanted / item), most)
        if bound is not None:
            size = min(size, bound // (SHALLOW * self._workers))
        return max(1, size)

    def depth(self, left: int | None = None) -> int:
        """Tell how many chunks should be under way."""
        depth = self._useful_depth(left)
        return depth if self._room is None else max(1, min(depth, self._room))

    def _useful_depth(self, left: int | None) -> int:
        deep = DEEP * self._workers
        if not self._items:
            return SHALLOW * self._workers if self.fixed is None else deep
        chunk = self._item() * self.size(left, None)
        return max(SHALLOW * self._workers, min(int(AHEAD * self._workers / chunk), deep))

    def _item(self) -> float:
        """How many seconds an item takes."""
        return max(self._seconds / self._items, 1e-9) if self._items else TARGET
