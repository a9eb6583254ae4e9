"""The items of a `plait.map` whose place is plait's to choose.

The first items are called one by one, by whoever takes the results (beside a loop: in a thread);
their calls are the measurement. Then the rest goes where it belongs, in chunks where calls are
short. Items that must stay where they are called are called there, each when its result is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from plait._auto import pools
from plait._auto.calling import Caller
from plait._auto.chunks import GuardedSender, made_here, made_in_thread
from plait._auto.deciding import Decision, Need
from plait._auto.first_calls import FirstCalls
from plait._auto.lane import in_lane
from plait._auto.sizes import AutoSizer
from plait._auto.staying import Staying
from plait._auto.unread import NotRead
from plait._engines.defaults import default_executor
from plait._engines.thread import ThreadEngine
from plait._future import Future
from plait._map.calls import Steady
from plait._mapping.feed import LOOKAHEAD
from plait._mapping.sending import Sender
from plait._mapping.sizing import Sizer
from plait._task import bare
from plait._terms import DEFAULT
from plait._worker.chunk import GO_ON, STARRED

if TYPE_CHECKING:
    from plait._auto.flow import AutoFlow
    from plait._terms import Terms

    _Sent = list[tuple[Future[Any], list[Any]]]

__all__ = ["AutoSender"]

# Calls that are shorter go to threads in chunks, in seconds.
_SHORT = 2e-4
# Without a known end: so many seconds of work are taken to be left, and so many calls at most.
_AHEAD, _MOST = 1.0, 100_000
# So many single items may be under way or have results that nobody has taken.
_SINGLES = 1024


class AutoSender:
    """Sends the items of one map.

    Args:
        fn: the function.
        terms: its terms.
        starred: whether items are tuples of arguments.
        beside_loop: whether a coroutine takes the results.
        changing: whether reading the input runs code of the user's, which may change what it has
            given out before.
        window: how many items the user wants under way.
        length: how many items there are, if that is known.

    """

    def __init__(
        self,
        fn: Callable[..., Any],
        terms: Terms,
        *,
        starred: bool,
        beside_loop: bool,
        changing: bool,
        window: int | None,
        length: int | None,
    ) -> None:
        """Send nothing yet."""
        self._fn = fn
        self._caller = Caller(fn, terms)
        self._starred = starred
        self._loop = asyncio._get_running_loop() if beside_loop else None
        self._window = window
        self._length = length
        self._mode = GO_ON | (STARRED if starred else 0)
        self._has_terms = terms._replace(on=None, name=None, grace=DEFAULT.grace) not in _PLAIN
        is_changing = changing and not terms.parallel_safe
        self._staying = Staying(self._caller, self._loop, starred, is_changing)
        # Nobody but who makes the first calls reads an input that runs code of the user's.
        ahead = 1 if changing and self._loop is None else window or _SINGLES
        self._number = 0
        # With which item another call is measured, and how many were when it was decided.
        self._next_look = self._measured = 0
        # How many were when the one was sent that has not told yet.
        self._awaited = -1
        #: Whether the futures that were made last are those of single items.
        self.single = True
        #: Whether items are sent that were sent before, with others of which one was to blame.
        self.repeats = False
        self._sent_away: Callable[[list[Any]], _Sent] | None = None
        self.sizer = AutoSizer(self._learn)
        self._decision: Decision | None = None
        self._lease: pools.Lease | None = None
        # Kept alive as long as this.
        self._pool: object = None
        self._first_calls = FirstCalls(
            self._caller, self.sizer, self._loop, self._arguments, ahead, self._many
        )
        self._send: Callable[[list[Any]], _Sent] = self._first
        if terms.timeout is not None or terms.capture:
            self._go_each(default_executor("process")._max_workers)

    def __call__(self, items: list[Any]) -> _Sent:
        """Send items; return the futures, each with its items.

        Raises:
            RuntimeError: the engine takes nothing more.

        """
        if self.repeats and self._sent_away is not None:
            # What a process has died of is not tried here.
            return self._sent_away(items)
        self._number += len(items)
        record = self._caller.record
        record.calls += len(items)
        if self._send != self._bound:
            try:
                place = self._staying.first(items)
            except NotRead:
                self.single = True
                return self._first_calls.unread(items, self._left(), self._has_terms)
            if place is not None:
                return self._bound_from(place, items)
        if self._send == self._first:
            if self._is_decidable(items):
                self._follow(record.decide(self._need()))
        elif self._decision is not None and record.decision is None:
            # Calls cost something else by now: one at a time, when these are done.
            sent = self._send(items)
            self._begin_again()
            return sent
        elif self._is_look(items):
            return self._looked_at(items)
        return self._send(items)

    # -- stages -------------------------------------------------------------

    def _first(self, items: list[Any]) -> _Sent:
        """Make calls that are measured."""
        self.single = True
        return self._first_calls(items, self._left(), self.repeats)

    def sent(self, flow: AutoFlow) -> None:
        """Do what is left to do when items were sent; see `FirstCalls`."""
        self._first_calls.sent(flow)

    def interrupted(self, error: BaseException) -> None:
        """Take note that this was not done to its end; see `FirstCalls`."""
        self._first_calls.interrupted(error)

    def _is_look(self, items: list[Any]) -> bool:
        """Whether an item is measured of those that go elsewhere: where is not settled yet."""
        decision = self._decision
        return (
            len(items) == 1
            and decision is not None
            and decision.method != "serial"
            and self._number >= self._next_look
            # One at a time: of waits whole crowds are under way before the first has told anything,
            # and each that is looked at holds up those behind it.
            and self._caller.record.measured > self._awaited
            and not self._caller.record.is_settled
        )

    def _looked_at(self, items: list[Any]) -> _Sent:
        """Have a call measured, in a thread, and decide anew by those that were."""
        self._next_look = self._number + max(2, self._number // 3)
        record = self._caller.record
        if record.measured > self._measured:
            self._measured = record.measured
            before, made = self._decision, record.decide(self._need())
            if before is None or (made.method, made.width) != (before.method, before.width):
                self._follow(made)
                if made.method == "serial":
                    return self._send(items)
        self._awaited = record.measured
        self.single = True
        return [(self._caller.first(True, self._arguments(items[0]), {}, None), items)]

    def _bound_from(self, place: int, items: list[Any]) -> _Sent:
        """Make the calls from that item on where they belong, and those before it as before."""
        before = self._send(items[:place]) if place else []
        self._go(self._bound, None)
        if before and not self.single:
            # The rest is of the same kind.
            return [*before, *map(self._bound_reply, items[place:])]
        return [*before, *self._bound(items[place:])]

    def _bound(self, items: list[Any]) -> _Sent:
        """Make calls one after another, where they belong."""
        self.single = True
        in_turn, loop = self._caller.in_turn, self._loop
        return [(in_turn(loop, self._arguments(item), {}), [item]) for item in items]

    def call_in_turn(self) -> Callable[[Any], Any] | None:
        """Return what makes an item's call, where all that are left belong here; or None."""
        if self._send != self._bound or self._loop is not None or self._has_terms:
            return None
        fn = bare(self._fn)
        return (lambda item: fn(*item)) if self._starred else fn

    def _bound_reply(self, item: Any) -> tuple[Future[Any], list[Any]]:
        """Make a call likewise, of which comes what comes of a chunk."""
        fn, mode = bare(self._fn), self._mode
        if self._loop is None:
            return made_here(fn, mode, [item]), [item]
        start = partial(made_in_thread, pools.threads(wide=False), fn, mode, [item])
        return in_lane(self._loop, self._caller.name, start), [item]

    def _here(self, items: list[Any]) -> _Sent:
        """Make calls one after another in this thread; beside a loop, in another."""
        fn, mode, caller = bare(self._fn), self._mode, self._caller
        self.single = self._loop is None and not self._is_plain
        if self.single:
            return [(caller.here(self._arguments(item), {}), [item]) for item in items]
        if self._loop is None:
            return [(made_here(fn, mode, items), items)]
        return [(made_in_thread(pools.threads(wide=False), fn, mode, items), items)]

    def _threads(self, pool: Any, chunked: bool, items: list[Any]) -> _Sent:
        """Have threads make calls."""
        self.single = not chunked
        if chunked:
            return [(made_in_thread(pool, bare(self._fn), self._mode, items), items)]
        submit, fn, terms = ThreadEngine(pool).submit, self._fn, self._caller.terms
        return [(submit(fn, self._arguments(item), {}, terms), [item]) for item in items]

    def _processes(self, send: Sender, items: list[Any]) -> _Sent:
        """Have processes make calls."""
        try:
            sent: _Sent = send(items)
        finally:
            self.single = send.single
        return sent

    def _each(self, items: list[Any]) -> _Sent:
        """Have each item's call sent by itself, on terms that not every place can keep."""
        self.single = True
        submit = self._caller.submit
        return [(submit(self._arguments(item), {}), [item]) for item in items]

    # -- from stage to stage ------------------------------------------------

    def _go(self, send: Callable[[list[Any]], _Sent], sizer: Sizer | None, bound: int = 1) -> None:
        """Send so from now on; without a sizer, one item when its result is wanted."""
        self._first_calls.leave()
        self._send = send
        if sizer is None:
            self.sizer.use(Steady(1), 1)
        else:
            self.sizer.use(sizer, bound if self._window is None else self._window)

    def _begin_again(self) -> None:
        self._decision = None
        self._go(self._first, None)

    def _is_decidable(self, items: list[Any]) -> bool:
        """Whether the calls that were measured are enough, of items such as these."""
        record = self._caller.record
        if record.found is not None or not (record.decision or record.knows_enough()):
            return False
        return self._staying.is_known(items, self._number)

    def _follow(self, decision: Decision) -> None:
        """Send items where it was decided."""
        self._decision = decision
        self._measured = self._caller.record.measured
        if decision.method == "process":
            if self._follow_to_processes(decision.width):
                return
        elif decision.method == "thread":
            signals = self._caller.record.signals()
            width = self._width(decision.width)
            chunked = self._is_plain and signals is not None and signals.wall < _SHORT
            sizer = Sizer(width, None) if chunked else Steady(2 * width)
            if pools.is_deepest():
                self._go_here()
                return
            send = partial(self._threads, self._leased(width).pool, chunked)
            self._go(send, sizer, LOOKAHEAD if chunked else max(_SINGLES, 2 * width))
            return
        self._go_here()

    def _go_here(self) -> None:
        self._go(self._here, Sizer(1, None if self._is_plain else 1), LOOKAHEAD)

    def end(self) -> None:
        """Leave the threads to other maps: no call is under way in them."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.end()

    def _leased(self, width: int) -> pools.Lease:
        if self._lease is None or self._lease.width != width:
            # The other threads end when nobody has them and their calls are done.
            self._lease = pools.Lease(width)
        return self._lease

    def _many(self) -> pools.Lease:
        """Take as many threads as all calls that are left have if they wait."""
        if self._lease is not None:
            return self._lease
        left = self._left()
        return self._leased(self._width(pools.MOST_THREADS if left is None else left))

    def _width(self, wanted: int) -> int:
        """Tell how many threads are to have calls."""
        if self._window is not None:
            return self._window
        # Where there are many it is a power of two, so that the next map finds those of this one.
        many = wanted > default_executor("thread")._max_workers
        width = 1 << (wanted - 1).bit_length() if many else wanted
        return min(width, pools.MOST_THREADS)

    def _follow_to_processes(self, width: int) -> bool:
        pool = pools.processes(width)
        if isinstance(pool, str):
            return False
        if not self._is_plain:
            self._go_each(pool._max_workers)
            return True
        fn = bare(self._fn)
        make = partial(GuardedSender, caller=self._caller, loop=self._loop)
        send, sizer = pool._map_with(fn, self._mode, None, make)
        self._pool = pool
        self._sent_away = partial(self._processes, send)
        self._caller.record.is_known_there = True
        self._go(self._sent_away, sizer, LOOKAHEAD)
        return True

    def _go_each(self, width: int) -> None:
        sizer = Sizer(width, 1)
        self._go(self._each, sizer, max(_SINGLES, sizer.depth()))

    def _left(self) -> int | None:
        """Count the items from the one that is sent on, if that is known."""
        return None if self._length is None else max(0, self._length - self._number) + 1

    def _need(self) -> Need:
        left = self._left()
        if left is None:
            signals = self._caller.record.signals()
            wall = 1e-6 if signals is None else max(signals.wall, 1e-6)
            left = min(max(int(_AHEAD / wall), 16), _MOST)
        need = self._caller.need(left)
        changed = pools.processes() if not need.cold else None
        if isinstance(changed, str):
            need = need._replace(barred=(*need.barred, ("process", changed)))
        return need

    def _learn(self, count: int, seconds: float) -> None:
        """Take in how long some calls have run; called with the lock of the flow."""
        self._caller.record.note_cost(seconds / count)

    # -- items --------------------------------------------------------------

    def _arguments(self, item: Any) -> tuple[Any, ...]:
        return tuple(item) if self._starred else (item,)

    @property
    def _is_plain(self) -> bool:
        """Whether calls may be made in chunks: on no terms, nor each in a context of its own."""
        return not self._has_terms and not self._caller.record.analysis.uses_context


_PLAIN = (DEFAULT, DEFAULT._replace(parallel_safe=True))
