"""`plait.explain`: what `on="auto"` does with a function, and from what it was concluded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plait._auto.effects import Effect
from plait._auto.record import Event
from plait._auto.records import record_of
from plait._measure.signals import Signals
from plait._pickling.outbound import describe
from plait._submit import check_function
from plait._task import is_coroutine_function, terms_of
from plait._terms import DEFAULT
from plait._units import seconds_of

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `on="auto"` does with a function; `print` it.

    Attributes:
        name: The function's.
        decision: Where its calls go: `"serial"` (where they are made; beside an event loop, one
            after another in a thread), `"thread"`, `"process"` or `"loop"`; None while too few
            calls were made.
        reason: Why, as a sentence without a capital and a full stop.
        width: How many calls are under way at once.
        signals: What its calls have shown; None if none was measured.
        effects: What makes it matter where it is called, the weightiest first. Those with an
            `argument` count only for arguments that can be changed.
        calls: How many calls `on="auto"` was given; of a map, those that were measured.
        measured: How many of them were measured.
        seconds: What the decision was estimated from: the seconds of a batch, by place.
        history: What was decided before, and why that was changed.
    """

    name: str
    decision: str | None
    reason: str
    width: int
    signals: Signals | None
    effects: tuple[Effect, ...]
    calls: int
    measured: int
    seconds: tuple[tuple[str, float], ...]
    history: tuple[Event, ...]

    def __str__(self) -> str:
        where = "undecided" if self.decision is None else f"on={self.decision!r}"
        if self.width > 1:
            where += f", {self.width} at once"
        lines = [f"{self.name}: {where}"]
        if self.reason:
            lines.append(f"  {self.reason}")
        signals = self.signals
        if signals is not None:
            held = "" if signals.held is None else f", {signals.held:.0%} of it with the lock"
            lines.append(
                f"  one call: {seconds_of(signals.wall)}, {seconds_of(signals.cpu)} of CPU time, "
                f"{seconds_of(signals.waited)} waiting{held}; "
                f"{self.measured} of {self.calls} calls measured"
            )
        lines += [f"  {_of_argument(effect)}" for effect in self.effects]
        lines += [f"  {method}: {seconds_of(seconds)}" for method, seconds in self.seconds]
        lines += [
            f"  after {event.calls} calls: {event.decision or 'decided anew'}, {event.reason}"
            for event in self.history
        ]
        return "\n".join(lines)


def _of_argument(effect: Effect) -> str:
    if effect.argument is None:
        return f"it {effect}"
    return f"where `{effect.argument}` can be changed, it {effect}"


def explain(fn: Callable[..., Any], /) -> Explanation:
    """Tell where `on="auto"` runs a function, and why.

    It is not called; before its first call under `on="auto"`, there is what its code tells.

    Args:
        fn: the function; a method, a partial or a task is its function.

    Raises:
        TypeError: it cannot be called.

    Example:
        >>> import plait
        >>> seen = []
        >>> def note(x):
        ...     seen.append(x)
        >>> plait.explain(note).decision
        'serial'
        >>> plait.explain(note).effects[0].text
        'calls `seen.append()`'

    """
    check_function(fn)
    name = describe(fn)
    if is_coroutine_function(fn):
        reason = "a coroutine function runs on the event loop"
        return Explanation(name, "loop", reason, 1, None, (), 0, 0, (), ())
    record, before, keywords = record_of(fn)
    terms = terms_of(fn) or DEFAULT
    effects: tuple[Effect, ...] = ()
    if not terms.parallel_safe:
        effects = (*record.analysis.always, *record.analysis.on_arguments.values())
        if record.found is not None:
            effects = (record.found, *effects)
    # What binds the function whatever it is given, or bound its latest call.
    bound = None
    if not terms.parallel_safe:
        bound = record.found or record.bound
        if record.analysis.binds_all:
            bound = record.analysis.always[0]
        elif bound is None and before:
            bound = record.analysis.effect_on(before, keywords)
    signals, decision = record.signals(), record.decision or record.former
    method: str | None = None
    reason, width = "", 1
    seconds: tuple[tuple[str, float], ...] = ()
    if bound is not None and bound.keeps == "here":
        method, reason = "serial", f"stays where it is called: {bound}"
    elif decision is not None:
        method, reason = decision.method, decision.reason
        width, seconds = decision.width, decision.seconds
    elif terms.timeout is not None:
        method, reason = "process", "has a timeout, and a process can always be stopped"
    return Explanation(
        name=name,
        decision=method,
        reason=reason,
        width=width,
        signals=signals,
        effects=effects,
        calls=record.calls,
        measured=record.measured,
        seconds=seconds,
        history=tuple(record.history),
    )
