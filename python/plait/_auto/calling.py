"""Calls of one function, each sent where it belongs."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from time import perf_counter, thread_time
from typing import Any

from plait._auto import pools
from plait._auto.chained import Chained
from plait._auto.deciding import Need
from plait._auto.digesting import Incomparable
from plait._auto.effects import Effect
from plait._auto.fixed import is_fixed
from plait._auto.guarding import Differs, Guarded, digests_of, replaced
from plait._auto.lane import Start, in_lane
from plait._auto.measuring import Around, Sample, Watch, observed
from plait._auto.records import record_of
from plait._auto.unread import NotRead, without_reading
from plait._carried import carrying
from plait._engines.process import ProcessEngine
from plait._engines.serial import SerialEngine
from plait._future import Future
from plait._pickling.outbound import describe
from plait._terms import Terms

__all__ = ["Caller"]

# Nobody knows how many single calls are to come: as many again as there were, and at least so many.
_FEW = 16
# Comparing what a function reads may take that part of a call, or of a chunk of so many seconds.
_COMPARED, _CHUNK = 0.2, 1e-3


class Caller:
    """Sends the calls of a function, and has some of them measured."""

    def __init__(self, fn: Callable[..., Any], terms: Terms) -> None:
        """Send nothing yet."""
        self.fn = fn
        self.terms = terms
        self.name = terms.name or describe(fn)
        self.record, self._before, self._keywords = record_of(fn)
        # A map has one of these for all its calls.
        self._around = Around(self._held)
        #: Is given what looks at a call that is measured, while it is made.
        self.watched: Callable[[Watch], None] | None = None

    # -- single calls -------------------------------------------------------

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Have one call made."""
        if self.terms.capture:
            # Nothing else keeps what a call prints.
            return ProcessEngine(None).submit(self.fn, args, kwargs, self.terms)
        loop = asyncio._get_running_loop()
        try:
            bound = self.is_bound(loop, args, kwargs)
        except NotRead:
            assert loop is not None
            free = partial(self.free, loop, args, kwargs)
            kept = partial(self._counted, partial(self.kept, args, kwargs))
            return self.once_read(loop, args, kwargs, free, kept)
        if bound:
            self.record.calls += 1
            return self.in_turn(loop, args, kwargs)
        return self.free(loop, args, kwargs)

    def _counted(self, start: Start) -> Future[Any]:
        self.record.calls += 1
        return start()

    def free(
        self,
        loop: asyncio.AbstractEventLoop | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Have a call made where it belongs that may be made anywhere."""
        if self.terms.timeout is not None:
            # Nothing but a process is stopped for certain.
            return self.in_process(args, kwargs) or self.in_thread(args, kwargs)
        if self.record.wants_look():
            batch = max(_FEW, self.record.calls)
            elsewhere = loop is not None or (self._is_elsewhere() and not pools.is_deepest())
            first = partial(self.first, elsewhere, args, kwargs, partial(self.need, batch))
            if loop is None or self.record.decision is not None:
                return first()
            gate = self.record.gate
            if gate.enter():
                return gate.made(first)
            anew = _as_here(partial(self._anew, loop, args, kwargs))
            return gate.wait(loop, self.name, _as_here(first), anew)
        decision = self.record.decision
        if decision is None or decision.method == "serial" or pools.is_deepest():
            return self.here(args, kwargs) if loop is None else self.in_thread(args, kwargs)
        if decision.method == "process":
            sent = self.in_process(args, kwargs)
            if sent is not None:
                return sent
            # What cannot be carried there may be what threads must not share.
            return self.in_turn(loop, args, kwargs)
        return self.in_thread(args, kwargs)

    def _anew(
        self, loop: asyncio.AbstractEventLoop, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        """Have a call made that has waited until it is known where calls belong."""
        if self.is_bound(None, args, kwargs):
            return self.in_turn(loop, args, kwargs)
        return self.free(loop, args, kwargs)

    @property
    def depends_on_arguments(self) -> bool:
        """Whether numbers and strings for arguments could matter to what keeps a call here."""
        record = self.record
        return not self.terms.parallel_safe and (
            record.found is not None
            or bool(self._before)
            or bool(self._keywords)
            or record.analysis.binds_all
            or record.analysis.has_open_defaults
        )

    def _is_elsewhere(self) -> bool:
        """Whether calls are not made in this thread any more: those that are measured neither."""
        decision = self.record.decision
        return decision is not None and decision.method != "serial"

    def effect_on(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Effect | None:
        """Tell what keeps a call where it is made; None: nothing."""
        if self.terms.parallel_safe:
            return None
        keywords = {**self._keywords, **kwargs} if self._keywords else kwargs
        return self.record.effect_on((*self._before, *args), keywords)

    def is_bound(
        self,
        loop: asyncio.AbstractEventLoop | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> bool:
        """Whether a call must be made where it is.

        Raises:
            NotRead: this thread runs a loop, and code would have to be read to know.

        """
        if loop is None:
            effect = self.effect_on(args, kwargs)
        else:
            with without_reading():
                effect = self.effect_on(args, kwargs)
        return effect is not None and effect.keeps == "here"

    def once_read(
        self,
        loop: asyncio.AbstractEventLoop,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        free: Start,
        kept: Start,
    ) -> Future[Any]:
        """Have a call made when a thread has read what it would call.

        Args:
            loop: what this thread runs.
            args: the arguments of the call.
            kwargs: its keywords.
            free: starts it if nothing keeps it here.
            kept: starts it otherwise, in its turn.

        """
        free, kept = _as_here(free), _as_here(kept)

        def read() -> Start | None:
            return None if self.is_bound(None, args, kwargs) else free

        return in_lane(loop, self.name, kept, read)

    def need(self, batch: int) -> Need:
        """Say what is to come."""
        barred = []
        always = () if self.terms.parallel_safe else self.record.analysis.always
        effect = next(iter(always), None)
        if effect is not None:
            barred.append(("process", str(effect)))
        else:
            found, seconds = self._timed_digests()
            most = _COMPARED * max(self._wall(), _CHUNK)
            if seconds > most:
                # The first time there is more to be made, which is kept.
                found, seconds = self._timed_digests()
            if isinstance(found, str):
                barred.append(("process", found))
            elif seconds > most:
                barred.append(("process", "reads globals that take long to be compared there"))
        new = () if self.record.is_known_there else ("process",)
        return Need(batch, pools.is_cold(), tuple(barred), new, pools.width(), *pools.wide())

    def _timed_digests(self) -> tuple[tuple[tuple[str, str, bytes], ...] | str, float]:
        """Make them; tell how many seconds of CPU time that took."""
        begun = thread_time()
        found = self.digests()
        return found, thread_time() - begun

    def _wall(self) -> float:
        signals = self.record.signals()
        return 0.0 if signals is None else signals.wall

    # -- where --------------------------------------------------------------

    def here(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Make a call now, in this thread."""
        begun = perf_counter()
        future = SerialEngine().submit(self.fn, args, kwargs, self.terms)
        self.record.note_cost_here(perf_counter() - begun)
        return future

    def first(
        self,
        elsewhere: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        need: Callable[[], Need] | None,
    ) -> Future[Any]:
        """Make a call that is measured, and decide by it.

        Args:
            elsewhere: whether in another thread: this one runs a loop.
            args: its arguments.
            kwargs: its keywords.
            need: what is to come; None: the caller decides.

        """
        fn = partial(self._measured, need, elsewhere)
        terms = self.terms._replace(name=self.name)
        if not elsewhere:
            return SerialEngine().submit(fn, args, kwargs, terms)
        return _threaded(fn, args, kwargs, terms)

    def _measured(
        self, need: Callable[[], Need] | None, beside: bool, /, *args: Any, **kwargs: Any
    ) -> Any:
        keywords = {**self._keywords, **kwargs}
        record = self.record
        number = record.begin()

        def note(sample: Sample) -> None:
            alone = record.is_alone(number)
            sample = sample if alone and not beside else sample.beside_others()
            record.note(sample if alone else sample.in_a_crowd())
            # Also where it was decided: by now there are more calls than anybody could know of.
            if need is not None and record.knows_enough():
                record.decide(need())

        try:
            return observed(
                partial(self.fn, *args, **kwargs),
                (*self._before, *args),
                keywords,
                note,
                compare=not self.terms.parallel_safe and record.found is None,
                shares=record.analysis.returns_shared,
                around=None if self.terms.parallel_safe else self._around,
                watched=self.watched,
            )
        finally:
            record.end()

    def is_free(self, args: tuple[Any, ...]) -> bool:
        """Whether nothing can change in or between such calls: there is nothing to be compared."""
        if self.terms.parallel_safe:
            return True
        known = (*args, *self._held())
        return not self.record.has_surroundings and all(map(is_fixed, known))

    def _held(self) -> list[Any]:
        """List what a call may change beside its arguments, or others may between calls."""
        return [*self._before, *self._keywords.values(), *self.record.state()]

    def in_thread(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Have a thread make a call."""
        wide = self.record.decision is None or self.record.waits
        return _threaded(self.fn, args, kwargs, self.terms, wide=wide)

    def in_process(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any] | None:
        """Have a process make a call; None if that cannot be."""
        if self.record.kept is not None:
            return None
        decision = self.record.decision
        width = 1 if decision is None else decision.width
        pool, digests = pools.processes(width), self.digests()
        if isinstance(pool, str) or isinstance(digests, str):
            why = pool if isinstance(pool, str) else str(digests)
            if self.terms.timeout is None:
                self.record.forget(why)
            return None
        pool._pool.check_open()
        try:
            fn = carrying(self.fn, self.terms.context) if self.terms.context else self.fn
            sent = Guarded(fn, digests, self.name) if digests else fn
            call = pool._outbound.encode(sent, args, kwargs)
        except Exception:
            # It says so where it is looked at: what it is keeps it here.
            return None
        future = pool._send(call, self.terms, sent, args, kwargs)
        self.record.is_known_there = True
        if not digests:
            return future
        guarded = Chained(self.name, partial(self._elsewhere, args, kwargs, copy_context()))
        guarded.follow(future)
        return guarded

    def _elsewhere(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], context: Any, error: BaseException
    ) -> Future[Any] | None:
        """Have a thread make the call that a process has refused."""
        if not isinstance(error, Differs):
            return None
        self.refuse(error)
        return _threaded(self.fn, args, kwargs, self.terms, context)

    def refuse(self, error: Differs) -> None:
        """Send nothing more to processes."""
        self.record.keep(f"reads {error}, which processes have another value of")

    def digests(self) -> tuple[tuple[str, str, bytes], ...] | str:
        """Make the digests that processes compare; or say why there are none."""
        if self.terms.parallel_safe:
            return ()
        reads = self.record.analysis.reads | replaced(self.record.function())
        if not reads:
            return ()
        try:
            return digests_of(reads)
        except Incomparable as error:
            return str(error)

    def kept(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        """Have a thread make a call whose turn it is."""
        return _threaded(self.fn, args, kwargs, self.terms)

    def in_turn(
        self,
        loop: asyncio.AbstractEventLoop | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Have a call made before any other that is submitted after it."""
        if loop is not None:
            return in_lane(loop, self.name, _as_here(partial(self.kept, args, kwargs)))
        if self.terms.timeout is None:
            return SerialEngine().submit(self.fn, args, kwargs, self.terms)
        # This thread cannot be stopped: another makes the call, and this one waits for it.
        future = _threaded(self.fn, args, kwargs, self.terms)
        try:
            concurrent.futures.wait([future])
        except BaseException:
            future.cancel()
            raise
        return future


def _threaded(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    terms: Terms,
    context: Context | None = None,
    *,
    wide: bool = True,
) -> Future[Any]:
    """Have a thread make a call."""
    pool = pools.threads(wide=wide)
    try:
        return pool._submit(fn, args, kwargs, terms, context or copy_context())
    except RuntimeError:
        if asyncio._get_running_loop() is not None or terms.timeout is not None:
            raise
        # No thread can be started: at its exit Python 3.12.0 and 3.12.1 start none. What was
        # accepted is made by the one that is here.
        return (context or copy_context()).run(SerialEngine().submit, fn, args, kwargs, terms)


def _as_here(start: Start) -> Start:
    """Have another thread start a call as this one would: in its context, and at its level."""
    context, level = copy_context(), pools.level()

    def started() -> Future[Any]:
        with pools.standing_at(level):
            return context.run(start)

    return started
