"""What is known of a function: its code, its calls, and what was decided.

Nothing here is locked while code of the user's runs, and no call waits for another's: whoever comes
before anything is known is measured as well.
"""

from __future__ import annotations

import operator
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from statistics import fmean
from types import FunctionType
from typing import Any, NamedTuple

from plait import _cores
from plait._auto import pools
from plait._auto.analysis import Analysis
from plait._auto.deciding import Decision, Need, decided, waits
from plait._auto.effects import Effect
from plait._auto.gate import Gate
from plait._auto.measuring import LOOKS, Sample
from plait._auto.unread import about_to_read
from plait._measure.estimating import never_queues
from plait._measure.signals import Signals, has_threads

__all__ = ["Event", "Record", "can_be_weak", "same"]

# So many calls are measured before anything is decided, or so many seconds of them.
_FIRST, _ENOUGH = 3, 0.01
# One call is enough that takes so many seconds. A shorter one may be slow because it is the first:
# by one, a function was sent to processes that warms up for 0.3 s, and others to few threads.
_LONG = 1.0
# The latest calls count.
_KEPT = 24
# Calls that take no longer are short, in seconds.
_SHORT = 2e-5
# A call is looked at again after so many, and after so many seconds; nor is anything decided anew
# sooner than that.
_EVERY, _APART = 64, 0.5
# The costs of calls have changed where so many in a row are so many times as large, or as small.
_DRIFT, _IN_A_ROW = 2.0, 3
# Calls that take longer are looked at, in seconds, unless another one is.
_LOOKED_AT = 1e-3
# What was decided so often again is settled.
_AGREED = 2
# So much is remembered of what was decided.
_HISTORY = 32


class Event(NamedTuple):
    """Something that was decided.

    Attributes:
        when: Seconds since 1970.
        calls: After how many measured calls.
        decision: Where the calls go from then on.
        reason: Why, as a sentence without a capital and a full stop.
    """

    when: float
    calls: int
    decision: str
    reason: str


class Record:
    """What is known of one function."""

    def __init__(self, function: Any) -> None:
        """Know nothing yet."""
        #: Returns the function, or None where it is gone.
        self.function: Callable[[], Any] = _weak_or_not(function)
        # What it was made of when it was read.
        self._made_of: tuple[Any, ...] = ()
        self._analysis: Analysis | None = None
        # Held while the code is read: by one thread for all.
        self._reading = threading.RLock()
        self.decision: Decision | None = None
        #: What calls have shown that code does not tell.
        self.found: Effect | None = None
        #: The effect that bound the latest call that was bound.
        self.bound: Effect | None = None
        #: Why results cannot come from processes, as a clause; None if they can.
        self.kept: str | None = None
        self.history: deque[Event] = deque(maxlen=_HISTORY)
        #: How many calls there were, and how many of them were measured.
        self.calls = 0
        self.measured = 0
        # Held for single steps.
        self._lock = threading.Lock()
        #: Whether processes have been sent calls.
        self.is_known_there = False
        #: The first calls beside a loop.
        self.gate = Gate(self._is_known)
        #: Whether calls wait for a part of their time, by the latest decision.
        self.waits = False
        # How many measured calls have begun, and are under way.
        self._begun = self._under_way = 0
        #: What was decided until it was asked for anew.
        self.former: Decision | None = None
        # How often in a row the same was decided.
        self._agreed = 0
        self._first: Sample | None = None
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._others: deque[float] = deque(maxlen=_IN_A_ROW)
        # What a call costs, by the latest decision.
        self._usual = 0.0
        # When it was decided for so long that it may be decided anew.
        self._settled = 0.0
        self._look_at = 0.0
        self._next_look = 0

    def forked(self) -> None:
        """In the child of a fork: what another thread holds at the fork nobody lets go of here."""
        self._lock = threading.Lock()
        self._reading = threading.RLock()
        self._under_way = 0
        self.gate = Gate(self._is_known)

    # -- before a call ------------------------------------------------------

    @property
    def analysis(self) -> Analysis:
        """What its code tells, which is read when it is first asked for."""
        found = self._analysis
        return self._read() if found is None else found

    def _read(self) -> Analysis:
        about_to_read()
        with self._reading:
            if self._analysis is None:
                function = self.function()
                self._made_of = _made_of(function)
                self._analysis = Analysis(function)
            return self._analysis

    def stand_for(self, function: Any) -> None:
        """Belong to another function of the same code, if that one is gone."""
        if self.function() is None:
            self.function = _weak_or_not(function)

    def check(self) -> None:
        """Read the code again where a function that it calls is another now."""
        function = self.function()
        if function is None:
            return
        if not self.analysis.holds(function):
            self._read_again(function, "a function that it calls was replaced")
        elif not all(map(operator.is_, self._made_of, _made_of(function))):
            self._read_again(function, "its code or its defaults were replaced")
            # Processes have it as it was when it was first sent to them.
            self.kept = "was changed in place, which processes know nothing of"

    def effect_on(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Effect | None:
        """Tell what keeps a call with such arguments where it is made; None: nothing."""
        self.check()
        effect = self.found
        if effect is None:
            effect = self.analysis.effect_on(args, kwargs)
        if effect is not None:
            self.bound = effect
            bars = effect.keeps == "process" and self.kept is None
            if bars and effect not in self.analysis.always:
                self.keep(str(effect))
        return effect

    def state(self) -> list[Any]:
        """List what a call may change beside its arguments."""
        function = self.function()
        return [] if function is None else self.analysis.state(function)

    @property
    def has_surroundings(self) -> bool:
        """Whether it reads or holds what others may change between calls."""
        function = self.function()
        return function is None or self.analysis.has_surroundings(function)

    def _read_again(self, function: Any, why: str) -> None:
        about_to_read()
        with self._reading:
            self._made_of = _made_of(function)
            self._analysis = Analysis(function)
        self.found = self.kept = self.bound = None
        self.forget(why)

    def wants_look(self) -> bool:
        """Whether this call is to be measured: nothing is decided, or it is time to look again."""
        self.calls += 1
        if self.decision is None:
            return True
        if self.calls < self._next_look:
            return False
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _APART
        self._next_look = self.calls + _EVERY
        return True

    def _is_known(self) -> bool:
        """Whether it is known where calls belong."""
        return self.decision is not None or self.found is not None

    def begin(self) -> int:
        """Take note that a measured call begins; return its number, or 0 where others run."""
        with self._lock:
            self._begun += 1
            self._under_way += 1
            return self._begun if self._under_way == 1 else 0

    def is_alone(self, number: int) -> bool:
        """Whether none of its kind has run beside the call of that number."""
        return number == self._begun

    def end(self) -> None:
        """Take note that a measured call has ended."""
        with self._lock:
            self._under_way -= 1

    # -- after a call -------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether the same was decided so often that only other costs change it."""
        return self.decision is not None and self._agreed >= _AGREED

    @property
    def is_short(self) -> bool:
        """Whether its first call was too short to be looked at."""
        first = self._first
        return first is not None and first.wall < _LOOKED_AT

    def note(self, sample: Sample) -> None:
        """Take in what a call has shown."""
        sample = sample.alone
        with self._lock:
            self.measured += 1
            if sample.effect is not None:
                self.found = sample.effect
            if sample.bound is not None:
                self.kept = sample.bound
            if self._first is None:
                self._first = sample
            elif self.decision is not None and self.decision.width > 1:
                # Others of its kind run beside it, and it queues for cores and caches with them:
                # that tells of a change, and not of what a call costs alone.
                if self.is_settled and sample.looks[0] >= LOOKS:
                    self._drifts(sample)
            elif sample.beside and not sample.looks[0] and sample.wall > _LOOKED_AT:
                # The sampler has watched another: what it has waited for nobody knows.
                return
            elif not self.is_settled or not self._drifts(sample):
                self._samples.append(sample)

    def _drifts(self, sample: Sample) -> bool:
        """Whether calls cost something else by now; called with the lock."""
        usual, cost = self._wall(), _cost(sample)
        if cost * _DRIFT > usual and usual * _DRIFT > cost:
            self._others.clear()
            return False
        self._others.append(cost)
        if len(self._others) < _IN_A_ROW or time.monotonic() < self._settled:
            # One that is slow is no drift, nor does it count.
            return True
        self._forget(f"a call takes {cost:.2g} s and no longer {usual:.2g} s")
        return False

    def note_cost(self, seconds: float) -> None:
        """Take in how long a call has run elsewhere, where nothing else was looked at."""
        with self._lock:
            usual = self._wall()
            # Where many run at once each takes longer: only more than that is news.
            width = 1 if self.decision is None else self.decision.width
            most = usual * _DRIFT * max(1, width)
            if seconds >= most:
                # Nor is what takes longer because others keep the cores busy.
                most *= max(1.0, _load() / _cores.usable())
            if usual / _DRIFT < seconds < most:
                self._others.clear()
                return
            self._others.append(seconds)
            if len(self._others) == _IN_A_ROW and time.monotonic() >= self._settled:
                self._forget(f"a call takes {seconds:.2g} s and no longer {usual:.2g} s")

    def note_cost_here(self, seconds: float) -> None:
        """Take in how long a call has run in the thread that made it."""
        usual = self._usual
        if usual / _DRIFT <= seconds <= usual * _DRIFT:
            if self._others:
                self._others.clear()
            return
        self.note_cost(seconds)

    def note_bound(self, text: str) -> None:
        """Have every call made where it is."""
        self.bound = Effect(text)

    def keep(self, why: str) -> None:
        """Have no process make calls any more."""
        self.kept = why
        self.forget(why)

    def forget(self, why: str) -> None:
        """Decide anew, by the calls to come."""
        with self._lock:
            self._forget(why)

    def _forget(self, why: str) -> None:
        if self.decision is not None:
            self.history.append(Event(time.time(), self.measured, "", why))
        self.former, self.decision = self.decision or self.former, None
        self._agreed = 0
        self._first = None
        self._samples.clear()
        self._others.clear()

    def knows_enough(self) -> bool:
        """Whether the calls that were measured are enough to decide."""
        with self._lock:
            if self._first is None:
                return False
            spent = sum(sample.wall for sample in self._samples)
            if spent >= _ENOUGH or self._first.wall >= _LONG:
                return True
            if len(self._samples) + 1 < _FIRST:
                return False
            # Whether it holds the interpreter lock is worth a few more calls, where they are not
            # so short that only the number of calls counts.
            return (
                spent < _SHORT * len(self._samples)
                or len(self._samples) == _KEPT
                or sum(sample.looks[0] for sample in self._samples) >= LOOKS
            )

    def decide(self, need: Need) -> Decision:
        """Decide where calls go from now on, and remember it."""
        signals = self.signals()
        if signals is None:
            # Another thread has just found that calls cost something else.
            return self.former or Decision("serial", 1, 1, "nothing is known yet", ())
        kept = self.kept
        made = decided(signals, need, process=kept, before=self.decision)
        if made.wants_more:
            pools.start_more_processes()
        with self._lock:
            before, self.decision = self.decision, made
            self._agreed = self._agreed + 1 if _agree(before, made) else 0
            self._settled = self._look_at = time.monotonic() + _APART
            self._next_look = self.calls + _EVERY
            self._usual = signals.wall
            self.waits = waits(signals)
            if before is None or before.method != made.method:
                self.history.append(Event(time.time(), self.measured, made.method, made.reason))
        return made

    def signals(self) -> Signals | None:
        """Sum up what the calls have shown; None: none was measured."""
        with self._lock:
            first, samples = self._first, list(self._samples)
        if first is None:
            return None
        usual = samples or [first]
        # The middle one: neither a pause of the machine nor a call with little to do counts. The
        # time in the queue is that of all together: it says how busy the machine is.
        middle = sorted(usual, key=_cost)[(len(usual) - 1) // 2]
        computed = sum(sample.cpu for sample in usual)
        waiting = sum(sample.queued for sample in usual)
        queued = middle.cpu * waiting / computed if computed > 0 else middle.queued
        has_own = has_threads(middle.process_cpu, middle.cpu, _cost(middle))
        every = [first, *samples]
        looked = [first] if has_own else every
        waited = sum(sample.queued for sample in every)
        if never_queues(waited + sum(sample.cpu for sample in every), waited):
            # A pool that has just been started, say, takes nothing away.
            looked = []
        rivals = [sample.rivals for sample in looked if sample.rivals is not None]
        looks = sum(sample.looks[0] for sample in usual)
        held = sum(sample.looks[1] for sample in usual)
        releases = sum(sample.released[0] for sample in usual)
        closely = sum(sample.released[1] for sample in usual)
        waits: dict[str, int] = {}
        for sample in usual:
            for what, count in sample.looks[2].items():
                waits[what] = waits.get(what, 0) + count
        return Signals(
            calls=self.measured,
            first=first.wall,
            wall=_cost(middle) + queued,
            cpu=middle.cpu,
            queued=queued,
            # A few looks tell nothing.
            held=held / looks if looks >= LOOKS else None,
            waits={what: count / looks for what, count in waits.items()} if looks else {},
            argument_bytes=middle.argument_bytes,
            result_bytes=middle.result_bytes,
            # What it took when it was least disturbed.
            pickle_seconds=min(
                (
                    sample.pickle_seconds
                    for sample in usual
                    if sample.pickle_seconds is not None
                    and sample.argument_bytes == middle.argument_bytes
                ),
                default=None,
            ),
            unpicklable=next((s.unpicklable for s in usual if s.unpicklable), None),
            memory=None,
            process_cpu=middle.process_cpu,
            pauses=middle.pauses,
            releases=releases / closely * _cost(middle) if closely else 0.0,
            rivals=fmean(rivals) if rivals else None,
        )

    def _wall(self) -> float:
        costs = sorted(map(_cost, self._samples))
        if costs:
            return costs[(len(costs) - 1) // 2]
        return 0.0 if self._first is None else _cost(self._first)


def _cost(sample: Sample) -> float:
    # Time in the queue for a core is not the function's.
    return sample.wall - sample.queued


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except OSError:
        # Nobody knows here.
        return 0.0


def _agree(before: Decision | None, made: Decision) -> bool:
    return (
        before is not None
        and before.method == made.method
        and before.width <= 2 * made.width <= 4 * before.width
    )


def same(function: Any) -> Any:
    """Return it: a strong reference that is called as a weak one is."""
    return function


def _weak_or_not(function: Any) -> Callable[[], Any]:
    return weakref.ref(function) if can_be_weak(function) else partial(same, function)


def _made_of(function: Any) -> tuple[Any, ...]:
    if not isinstance(function, FunctionType):
        return ()
    return function.__code__, function.__defaults__, function.__kwdefaults__


def can_be_weak(function: Any) -> bool:
    """Whether there are weak references to it."""
    return getattr(type(function), "__weakrefoffset__", 0) > 0
