"""The first calls of a map: made one by one, and measured, until it is known where the others go.

Whoever takes the results makes them; beside a loop, a thread. Where the first is seen to wait,
others are made beside it (`slow_start.py`), in threads: if nothing can change in them or between
them. What calls change, or whoever takes their results, is seen only where they are made one by
one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from plait._auto import pools
from plait._auto.chained import Chained
from plait._auto.fixed import is_fixed
from plait._auto.lane import Start
from plait._auto.slow_start import SlowStart
from plait._engines.thread import ThreadEngine
from plait._future import Future
from plait._map.calls import Steady

if TYPE_CHECKING:
    from plait._auto.calling import Caller
    from plait._auto.flow import AutoFlow
    from plait._auto.sizes import AutoSizer

    _Sent = list[tuple[Future[Any], list[Any]]]

__all__ = ["FirstCalls"]

# So many calls of a slow start are measured while its first one is under way.
_MEASURED = 2


class FirstCalls:
    """Makes the first calls of one map.

    Args:
        caller: makes each.
        sizer: is told how many may be under way.
        loop: beside which they are made, if a coroutine takes the results.
        arguments: makes the arguments of an item.
        ahead: how many items may be under way or have results that nobody has taken; 1: the input
            is read by nobody but who makes the calls.
        lease: takes the threads that calls are handed out to, for so many calls.

    """

    def __init__(
        self,
        caller: Caller,
        sizer: AutoSizer,
        loop: asyncio.AbstractEventLoop | None,
        arguments: Callable[[Any], tuple[Any, ...]],
        ahead: int,
        lease: Callable[[], pools.Lease],
    ) -> None:
        """Make no call yet."""
        self._caller = caller
        self._sizer = sizer
        self._loop = loop
        self._arguments = arguments
        self._ahead = ahead
        self._lease = lease
        self._slow_start: SlowStart | None = None
        # What is left to be done when a call was sent: it is made, or looked at.
        self._own: Callable[[AutoFlow], None] | None = None
        # The future of a call that a thread is to make itself, and which.
        self._owed: Chained | None = None
        self._owner = 0

    def __call__(self, items: list[Any], left: int | None, alone: bool) -> _Sent:
        """Make calls that are measured.

        Args:
            items: of the calls.
            left: how many items there are, if that is known.
            alone: whether they must be made one by one.

        """
        start = self._slow_start
        if start is not None and start.goes_on and not alone:
            return [(self._beside(start, self._arguments(item)), [item]) for item in items]
        caller, loop = self._caller, self._loop
        if start is not None:
            self.leave()
            self._sizer.use(Steady(1), 1)
        if alone or not self._may_wait(items, left):
            beside = loop is not None
            return [
                (caller.first(beside, self._arguments(item), {}, None), [item]) for item in items
            ]
        arguments = self._arguments(items[0])
        start = self._started(left)
        if loop is not None:
            future = caller.first(True, arguments, {}, None)
            self._look_at(start, arguments, future)
            return [(future, items)]
        owed = self._owed = Chained(caller.name)
        self._owner = threading.get_ident()
        start.sends(owed)
        self._own = partial(self._make, start, owed, arguments)
        return [(owed, items)]

    def unread(self, items: list[Any], left: int | None, has_terms: bool) -> _Sent:
        """Have threads read what the calls would call, and make them where they may be made."""
        caller, loop, sent = self._caller, self._loop, []
        assert loop is not None
        start = self._slow_start
        looks = start is None and self._may_wait(items, left)
        if looks:
            start = self._started(left)
        for item in items:
            arguments = self._arguments(item)
            free: Start = partial(caller.first, True, arguments, {}, None)
            if has_terms:
                free = partial(caller.free, loop, arguments, {})
            kept = partial(caller.kept, arguments, {})
            future = caller.once_read(loop, arguments, {}, free, kept)
            if looks and start is not None:
                self._look_at(start, arguments, future)
            sent.append((future, [item]))
        return sent

    def sent(self, flow: AutoFlow) -> None:
        """Do what is left when calls are sent: make the one that is this thread's, or look at it.

        Raises:
            KeyboardInterrupt: the call was interrupted.
            SystemExit: the call has raised it.

        """
        own, self._own = self._own, None
        if own is not None:
            own(flow)

    def interrupted(self, error: BaseException) -> None:
        """End what was not made for that."""
        if self._owner != threading.get_ident():
            # It was the thread that hands out others, and this call goes on.
            return
        owed, self._owed, self._own = self._owed, None, None
        if owed is None or owed.done():
            return
        told = RuntimeError("the call of this item was interrupted")
        told.__cause__ = error
        owed.fail(told)
        # Whoever does not go on knows it from what is raised now.
        owed._forgive()

    def leave(self) -> None:
        """Make no more calls: it is known where they belong."""
        start, self._slow_start = self._slow_start, None
        self._caller.watched = None
        if start is not None:
            start.stop()

    # -- beside the first -----------------------------------------------------

    def _may_wait(self, items: list[Any], left: int | None) -> bool:
        """Whether it is worth a look if the call waits."""
        return (
            len(items) == 1
            and self._ahead > 1
            and (left is None or left > 1)
            and not self._caller.record.is_short
            and not pools.is_deepest()
        )

    def _started(self, left: int | None) -> SlowStart:
        record = self._caller.record

        def is_known() -> bool:
            return record.decision is not None or record.knows_enough()

        self._slow_start = start = SlowStart(left, is_known)
        self._caller.watched = start.watched
        self._sizer.use(start, 1)
        return start

    def _make(
        self, start: SlowStart, future: Chained, arguments: tuple[Any, ...], flow: AutoFlow
    ) -> None:
        """Make the first call, while another thread may send others."""
        try:
            start.prepare(partial(self._may, arguments), self._more(start, flow))
            made = self._caller.first(False, arguments, {}, None)
        finally:
            start.end()
        future.follow(made)
        self._owed = None

    def _look_at(self, start: SlowStart, arguments: tuple[Any, ...], future: Future[Any]) -> None:
        """Have the call looked at that a thread makes."""
        start.sends(future)
        future.add_done_callback(lambda _: start.over())

        def look(flow: AutoFlow) -> None:
            start.prepare(partial(self._may, arguments), self._more(start, flow))

        self._own = look

    def _may(self, arguments: tuple[Any, ...]) -> bool:
        """Tell whether others may be made beside a call with such arguments."""
        if self._caller.record.found is not None or not self._caller.is_free(arguments):
            return False
        self._sizer.bound = self._ahead
        return True

    def _more(self, start: SlowStart, flow: AutoFlow) -> Callable[[], object]:
        """Return what has more calls sent: here, by the thread that looks, or by the loop's."""
        if self._loop is not None:
            return flow._tell
        context, level = copy_context(), pools.level()

        def more() -> None:
            with pools.standing_at(level):
                context.run(flow.advance_until, lambda: start.has_ended)

        return more

    def _beside(self, start: SlowStart, arguments: tuple[Any, ...]) -> Future[Any]:
        """Have a thread make a call beside the first."""
        caller = self._caller
        can_change = not (caller.terms.parallel_safe or all(map(is_fixed, arguments)))
        if can_change:
            # What it changes is compared: one such call at a time.
            start.stop()
        if can_change or start.is_over or start.sent < _MEASURED:
            future = caller.first(True, arguments, {}, None)
        else:
            engine = ThreadEngine(self._lease().pool)
            future = engine.submit(caller.fn, arguments, {}, caller.terms)
        start.sends(future)
        return future
