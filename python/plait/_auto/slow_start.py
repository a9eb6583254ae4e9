"""More and more calls while the first is seen to wait.

Who takes the results of a map makes its first call himself, and by that call and the next it is
decided where the others go. If it waits, they could have waited beside it: of 100 waits two would
take as long as all. So a thread looks at it from outside. Once it is seen to do nothing but wait,
a second call is made beside it, and while both wait, twice as many each time, as senders of TCP
begin (RFC 5681, 3.1). When the first ends it is about to be known where the others belong, and
many are under way.

What waits may compute in the end, and belong to processes. Threads would make such calls one at a
time, at the interpreter lock. So no more than a small part of a map's calls is handed out before
it is decided, but for a few.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial

from plait._auto import pools
from plait._auto.measuring import Watch
from plait._future import Future
from plait._mapping.sizing import Sizer
from plait._terms import DEFAULT

__all__ = ["SlowStart"]

# Seconds after which a call is looked at first, and between two looks once calls are handed out.
_PATIENCE, _TICK = 1e-3, 7e-4
# The first look is repeated after twice the time, up to so many seconds.
_LATEST = 0.1
# So many calls are looked at.
_LOOKED_AT = 2
# So many samples tell that a call waits, if it did so in that part of them.
_SAMPLES, _WAITING = 3, 0.8
# So many calls are handed out at most, or one of so many that there are.
_FEW, _PART = 8, 16


class SlowStart(Sizer):
    """Says how many calls are to be under way before it is decided where they belong.

    Args:
        left: how many calls there are, if that is known.
        is_known: tells whether the calls that have ended are enough to decide.

    """

    def __init__(self, left: int | None, is_known: Callable[[], bool]) -> None:
        """Have one call under way."""
        super().__init__(1, 1)
        self._is_known = is_known
        self._most = max(_FEW, (left or 0) // _PART)
        self._most = min(self._most, pools.MOST_THREADS)
        # Held while calls are handed out by the thread that looks.
        self._turn = threading.Lock()
        self._over = threading.Event()
        #: Whether the first call has ended.
        self.has_ended = False
        # Held for single steps.
        self._step = threading.Lock()
        self._watched: list[_Watched] = []
        # What is done by the thread that looks, until it begins.
        self._prepared: Callable[[], None] | None = None
        self._depth = 1
        self._under_way = 0
        #: How many calls were sent.
        self.sent = 0

    # -- asked by who sends ---------------------------------------------------

    @property
    def goes_on(self) -> bool:
        """Whether calls are to be sent beside those that are under way."""
        return self._under_way > 0

    @property
    def is_over(self) -> bool:
        """Whether no more calls are handed out for what is seen: the first has ended."""
        return self._over.is_set()

    def depth(self, left: int | None = None) -> int:
        """Tell how many calls should be under way."""
        if self.sent > 1 and self._is_known():
            # There is room: with the next one it is decided.
            return self._under_way + 1
        if self._over.is_set():
            return self._depth
        # What has ended meanwhile counts as well: no more are risked.
        return self._under_way + max(0, self._depth - self.sent)

    def sends(self, future: Future[object]) -> None:
        """Take note of a call that was sent."""
        with self._step:
            self.sent += 1
            self._under_way += 1
        future.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        with self._step:
            self._under_way -= 1

    # -- the thread that looks ------------------------------------------------

    def prepare(self, may: Callable[[], bool], more: Callable[[], object]) -> None:
        """Look at the first call from its beginning on.

        Args:
            may: tells whether others may be made beside it; asked once.
            more: hands out as many as there is room for.

        """
        with self._step:
            self._prepared = partial(self._look_on, may, more)
            begins = bool(self._watched)
        if begins:
            self._begin()

    def watched(self, watch: Watch) -> None:
        """Look at a call that begins, if it is one of the first two."""
        with self._step:
            is_first = not self._watched
            if len(self._watched) < _LOOKED_AT:
                self._watched.append(_Watched(watch))
        if is_first:
            self._begin()

    def _begin(self) -> None:
        with self._step:
            look_on, self._prepared = self._prepared, None
        if look_on is None:
            return
        try:
            # In no context of the caller's: what hands out calls has it.
            pools.threads()._submit(look_on, (), {}, DEFAULT, Context())
        except RuntimeError:
            # No thread can be started: the first calls are made one by one.
            self._over.set()

    def over(self) -> None:
        """Hand out no more for what is seen: the first call has ended."""
        self.has_ended = True
        self._over.set()

    def end(self) -> None:
        """Do so, and return when nobody hands out any."""
        self.over()
        with self._turn:
            return

    def stop(self) -> None:
        """Hand out no more, and have one call under way again."""
        self._depth = 1
        self._over.set()

    def _look_on(self, may: Callable[[], bool], more: Callable[[], object]) -> None:
        pause, asked = _PATIENCE, False
        while not self._over.wait(pause):
            waits = self._are_waiting()
            if waits and not asked:
                asked, waits = True, may()
                if not waits:
                    return
            if waits:
                with self._turn:
                    if self._over.is_set():
                        return
                    self._depth = min(2 * self._depth, self._most)
                    more()
                if self._depth == self._most:
                    return
                pause = _TICK
            elif self._depth > 1:
                if waits is not None:
                    # They compute after all.
                    self.stop()
                    return
            else:
                pause = min(2 * pause, _LATEST)

    def _are_waiting(self) -> bool | None:
        """Tell whether those that are watched do nothing but wait; None: that is not seen yet."""
        with self._step:
            watched = list(self._watched)
        if len(watched) < min(self._depth, _LOOKED_AT):
            return None
        seen = [one.is_waiting() for one in watched]
        if False in seen:
            return False
        return None if None in seen else True


class _Watched:
    """A call that is watched."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._looks = self._waits = 0

    def is_waiting(self) -> bool | None:
        """Tell whether it has waited since this was asked last; None: too little was seen."""
        found = self._watch.so_far()
        if found is None:
            return None
        looks = found[0]
        # Who waits for a lock may wait for another call, and computes when that lets go of it.
        waits = sum(count for what, count in found[1].items() if what != "lock")
        if looks - self._looks < _SAMPLES:
            return None
        share = (waits - self._waits) / (looks - self._looks)
        self._looks, self._waits = looks, waits
        return share >= _WAITING
