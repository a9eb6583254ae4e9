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
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any, NamedTuple

from plait import _cores
from plait._auto import pools
from plait._auto.analysis import Analysis
from plait._auto.deciding import Decision, Need, decided
from plait._auto.effects import Effect
from plait._auto.fixed import is_fixed, is_plain
from plait._auto.functions import keywords_of, unwrapped
from plait._auto.gate import Gate
from plait._auto.measuring import LOOKS, Sample
from plait._auto.unread import about_to_read
from plait._measure.signals import Signals

__all__ = ["Event", "Record", "record_of"]

# So many calls are measured before anything is decided, or so many seconds of them.
_FIRST, _ENOUGH = 3, 0.02
# One call is enough that takes so many seconds. A shorter one may be slow because it is the first:
# by one, a function was sent to processes that warms up for 0.3 s, and others to few threads.
_LONG = 1.0
# The latest calls count.
_KEPT = 24
# Calls wait that wait for so much of their time.
_WAITING = 0.2
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

    def end(self, number: int) -> bool:
        """Take note that it has ended; tell whether others of its kind ran meanwhile."""
        with self._lock:
            self._under_way -= 1
            return number != self._begun

    # -- after a call -------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """Whether the same was decided so often that only other costs change it."""
        return self.decision is not None and self._agreed >= _AGREED

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
        usual, cost = self._wall(), sample.wall - sample.queued
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
            self.waits = signals.waited > _WAITING * signals.wall
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
        # The middle one: neither a pause of the machine nor a call with little to do counts.
        middle = sorted(usual, key=lambda sample: sample.wall)[(len(usual) - 1) // 2]
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
            wall=middle.wall,
            cpu=middle.cpu,
            queued=middle.queued,
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
            releases=releases / closely * middle.wall if closely else 0.0,
        )

    def _wall(self) -> float:
        # Time in the queue for a core is not the function's.
        walls = sorted(sample.wall - sample.queued for sample in self._samples)
        if walls:
            return walls[(len(walls) - 1) // 2]
        return 0.0 if self._first is None else self._first.wall - self._first.queued


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


# -- which function it is -------------------------------------------------------

# By the identity of the function, and of its code: closures and lambdas are made anew.
_records: dict[int, tuple[Any, Record]] = {}
_by_code: dict[int, tuple[Any, list[tuple[tuple[Any, ...], Record]]]] = {}
# Those of functions that cannot be referred to weakly, the oldest first, and how many there may be.
_strong: deque[int] = deque()
_STRONG = 64
# So many closures of one code are told apart.
_CLOSURES = 16


def record_of(fn: Any) -> tuple[Record, tuple[Any, ...], dict[str, Any]]:
    """Find what is known of a function.

    Returns:
        The record, the arguments that `fn` puts before others (of a method its object), and the
        keywords that it adds.

    """
    function, before = unwrapped(fn)
    keywords = keywords_of(fn) if function is not fn else {}
    if not isinstance(function, FunctionType | BuiltinFunctionType | type):
        # An object that is called: it is its class that says how.
        own = _call_of(type(function))
        if isinstance(own, FunctionType):
            function, before = own, (function, *before)
    known = _records.get(id(function))
    if known is not None and known[0]() is function:
        return known[1], before, keywords
    record = _found_by_code(function)
    if record is None:
        record = Record(function)
        _remember_code(function, record)
    number = id(function)
    if not _can_be_weak(function):
        # What a class in C has, `str.upper` say, is there for ever; of what else there may be a
        # few are remembered.
        _records[number] = partial(_same, function), record
        _strong.append(number)
        if len(_strong) > _STRONG:
            _records.pop(_strong.popleft(), None)
    else:
        _records[number] = weakref.ref(function, partial(_drop, _records, number)), record
    return record, before, keywords


def _call_of(cls: Any) -> Any:
    return cls.__call__


def _found_by_code(function: Any) -> Record | None:
    if not isinstance(function, FunctionType):
        return None
    known = _by_code.get(id(function.__code__))
    if known is None or known[0]() is not function.__code__:
        return None
    held = _held(function)
    for other, record in list(known[1]):
        if _are_same(held, other):
            record.stand_for(function)
            return record
    return None


def _remember_code(function: Any, record: Record) -> None:
    if not isinstance(function, FunctionType):
        return
    code, held = function.__code__, _held(function)
    if held is None:
        return
    known = _by_code.get(id(code))
    if known is None or known[0]() is not code:
        number = id(code)
        # Bound now: at interpreter exit the globals go before the functions.
        reference: weakref.ref[CodeType] = weakref.ref(code, partial(_drop, _by_code, number))
        known = _by_code[number] = reference, []
    if len(known[1]) < _CLOSURES:
        known[1].append((tuple(map(_weakly, held)), record))


def _held(function: FunctionType) -> tuple[Any, ...] | None:
    """Tell what makes a function another than those of the same code; None: not to be told."""
    parts: list[Any] = [id(function.__globals__), *(function.__defaults__ or ())]
    parts += (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:
            return None
    return tuple(parts) if all(map(is_fixed, parts)) else None


def _weakly(value: Any) -> Any:
    """Hold functions and classes by weak references: a closure may lead to itself."""
    return weakref.ref(value) if isinstance(value, FunctionType | type) else value


def _are_same(first: tuple[Any, ...] | None, second: tuple[Any, ...]) -> bool:
    return (
        first is not None
        and len(first) == len(second)
        and all(
            one is (other() if type(other) is weakref.ref else other)
            or (is_plain(one) and type(one) is type(other) and one == other)
            for one, other in zip(first, second, strict=True)
        )
    )


def _drop(known: dict[int, Any], number: int, gone: object) -> None:
    # Called by the collector at any point: the number may be another's by now.
    found = known.get(number)
    if found is not None and found[0] is gone:
        known.pop(number, None)


def _same(function: Any) -> Any:
    return function


def _weak_or_not(function: Any) -> Callable[[], Any]:
    return weakref.ref(function) if _can_be_weak(function) else partial(_same, function)


def _made_of(function: Any) -> tuple[Any, ...]:
    if not isinstance(function, FunctionType):
        return ()
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _can_be_weak(function: Any) -> bool:
    return getattr(type(function), "__weakrefoffset__", 0) > 0


def _after_fork_in_child() -> None:
    # What another thread holds at the fork nobody lets go of here.
    for _, record in list(_records.values()):
        record._lock = threading.Lock()
        record._reading = threading.RLock()
        record._under_way = 0
        record.gate = Gate(record._is_known)


os.register_at_fork(after_in_child=_after_fork_in_child)
