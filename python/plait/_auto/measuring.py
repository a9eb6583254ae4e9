"""A real call, and what it shows of its function."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from types import GeneratorType
from typing import Any

from plait._auto.comparing import NUMBER, Arguments, Scale
from plait._auto.effects import Effect
from plait._auto.fixed import is_fixed, is_plain
from plait._binding import native

__all__ = ["LOOKS", "Around", "Sample", "observed"]

# So much more CPU time of the whole process is that of reading the clocks, in seconds.
_BLUR = 5e-5
#: Fewer looks at who holds the interpreter lock than that tell nothing.
LOOKS = 8

# As `native.LockSampler` tells it: what its looks have found, and how often the lock was let go of.
_Seen = tuple[tuple[int, int, Mapping[str, int]], tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one call has shown; seconds and bytes."""

    wall: float
    cpu: float
    queued: float
    process_cpu: float
    pauses: int
    # How often the thread was looked at, how often it held the interpreter lock, and what it
    # waited on how often.
    looks: tuple[int, int, Mapping[str, int]]
    # How often it was seen to let go of the lock, and in how many seconds of close looks.
    released: tuple[int, float] = (0, 0.0)
    # How many threads wanted a core beside this one, before the call.
    rivals: int | None = None
    argument_bytes: int | None = None
    result_bytes: int | None = None
    pickle_seconds: float | None = None
    unpicklable: str | None = None
    # What the comparison of the arguments has found; None: nothing, or it was not made.
    effect: Effect | None = None
    # Why its result cannot come from another process, as a clause about the function.
    bound: str | None = None
    # Whether the function has raised.
    failed: bool = False
    # Whether other calls were made meanwhile.
    beside: bool = False

    def beside_others(self) -> Sample:
        """Leave out what others have computed that ran meanwhile."""
        return replace(self, process_cpu=self.cpu, rivals=None, beside=True)

    def in_a_crowd(self) -> Sample:
        """Leave out the time in which it queued for a core, behind others of its kind."""
        return replace(self, wall=self.wall - self.queued, queued=0.0, rivals=None)

    @property
    def alone(self) -> Sample:
        """The same without the time in which it waited for the interpreter lock.

        That is time of whoever had the lock. To the clocks it is a wait like any other; who looked
        at the thread has seen what it waited on, and that is not among it.
        """
        looks, _, waits = self.looks
        waited = self.wall - self.cpu - self.queued
        if looks < LOOKS or waited <= 0:
            return self
        excess = waited - self.wall * sum(waits.values()) / looks
        # So many looks know a share no better.
        if excess <= self.wall / looks**0.5:
            return self
        counted = round(looks * (1 - excess / self.wall))
        return replace(self, wall=self.wall - excess, looks=(counted, self.looks[1], waits))


class Around:
    """What a function reads or holds, beside its arguments, before and after its calls.

    Args:
        state: lists it.

    """

    def __init__(self, state: Callable[[], list[Any]]) -> None:
        """Look at nothing yet."""
        self._state = state
        # As the call left it that was looked at last.
        self._left: Arguments | None = None

    def look(self) -> tuple[Arguments, Effect | None]:
        """Look at it before a call; tell whether it is another than after the one before."""
        now, left = Arguments(tuple(self._state()), {}), self._left
        if left is None or not now.differ_from(left):
            return now, None
        text = "reads or holds what is changed between its calls: a pickle of that differed"
        return now, Effect(text)

    def changed_by_call(self, before: Arguments) -> Effect | None:
        """Tell whether the call has changed it that has just ended."""
        if before.is_unseen:
            return Effect("reads or holds objects that it may change: they cannot be looked into")
        self._left = now = Arguments(tuple(self._state()), {})
        if now.differ_from(before):
            return Effect("changes what it reads or holds: a pickle of that differed after a call")
        return None


def observed(
    call: Callable[[], Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    note: Callable[[Sample], None],
    *,
    compare: bool,
    shares: bool = False,
    around: Around | None = None,
    watched: Callable[[Watch], None] | None = None,
) -> Any:
    """Make a call, and tell `note` what it has shown.

    Args:
        call: makes it.
        args: its arguments, for a look before and after it.
        kwargs: its keywords.
        note: is told, also where the call raises.
        compare: whether to look for arguments that it changes.
        shares: whether its code returns what others have as well, or may.
        around: what it may change beside its arguments, or what changes between calls.
        watched: is given what looks at the call while it is made.

    Returns:
        What the call returns.

    Raises:
        BaseException: what the call raises.

    """
    before = Arguments(args, kwargs)
    look = None if around is None else around.look()

    def noted(sample: Sample) -> None:
        if around is not None and look is not None:
            changed = around.changed_by_call(look[0]) or look[1]
            sample = replace(sample, effect=sample.effect or changed)
        note(sample)

    # Before the sampling thread wants a core as well.
    rivals = native.rivals()
    watch, probe = Watch(), native.Probe()
    if watched is not None:
        watched(watch)
    probe.begin()
    try:
        result = call()
    except BaseException:
        spent, seen = probe.end(), watch.end()
        noted(_sample(spent, seen, before, compare, None, shares, rivals, failed=True))
        raise
    spent, seen = probe.end(), watch.end()
    noted(_sample(spent, seen, before, compare, result, shares, rivals))
    return result


def _sample(
    spent: tuple[float, float, float, float, int],
    seen: _Seen,
    before: Arguments,
    compare: bool,
    result: Any,
    shares: bool,
    rivals: int | None,
    *,
    failed: bool = False,
) -> Sample:
    effect = None
    if isinstance(result, Coroutine):
        # A function that is none by its looks: places differ in what they make of that.
        effect = Effect("returns a coroutine, which is run where it was made")
    elif compare:
        if before.have_changed():
            effect = Effect("changes its arguments: a pickle of them differed after a call")
        elif before.is_unseen:
            effect = Effect(f"may change its arguments: {before.problem}")
    size, seconds, problem, bound = None, before.seconds, before.problem, None
    if problem is None and not failed:
        if before.contain(result):
            bound = "returns an object that it was given, of which a process would make a copy"
        elif shares and not is_fixed(result):
            bound = "returns an object that others have, of which a process would make a copy"
        elif isinstance(result, GeneratorType) or hasattr(type(result), "__next__"):
            bound = "returns an iterator, which goes on where it was made"
        else:
            size, took, problem = _weighed(result)
            seconds += took
    carried = problem is None
    wall, cpu, queued, process_cpu, pauses = spent
    # It is read a little before and after the clocks: it is never all of the time.
    queued = min(queued, max(wall - cpu, 0.0))
    if process_cpu - cpu < _BLUR:
        process_cpu = cpu
    return Sample(
        wall,
        cpu,
        queued,
        process_cpu,
        pauses,
        looks=seen[0],
        released=seen[1],
        rivals=rivals,
        argument_bytes=before.size if carried else None,
        result_bytes=size if carried else None,
        pickle_seconds=seconds if carried else None,
        unpicklable=problem,
        effect=effect,
        bound=bound,
        failed=failed,
    )


def _weighed(result: Any) -> tuple[int | None, float, str | None]:
    """Weigh a result: its size, the seconds to pickle and unpickle it, why it cannot be done."""
    if is_plain(result) and not isinstance(result, str | bytes):
        return 16, NUMBER, None
    begun = perf_counter()
    packer = Scale()
    try:
        packer.weigh(result)
    except Exception as error:
        kind = type(result).__qualname__
        text = " ".join(str(error).split())
        clause = f"its result, of type {kind}, cannot be pickled ({type(error).__name__}: {text})"
        return None, 0.0, clause
    return packer.size, packer.both(perf_counter() - begun), None


class Watch:
    """Looks from outside at the thread that makes a call, if there is a sampler for it."""

    def __init__(self) -> None:
        """Have this thread watched until `end`."""
        self._sampler = _begun()

    def so_far(self) -> tuple[int, Mapping[str, int]] | None:
        """Tell how often the thread was looked at, and what it waited on how often; in any thread.

        Returns:
            None where nobody looks, or not any more.

        """
        sampler = self._sampler
        try:
            looks, _, waits = (0, 0, {}) if sampler is None else sampler.so_far()
        except RuntimeError:
            # It has just ended.
            return None
        return None if sampler is None or self._sampler is None else (looks, waits)

    def end(self) -> _Seen:
        """End it: looks, those with the interpreter lock, what was waited on; and releases."""
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            return (0, 0, {}), (0, 0.0)
        released = sampler.released()
        return sampler.end(), released


# Each watches one thread at a time: who finds them busy does without. Two calls that are made side
# by side tell more than one.
_MOST_SAMPLERS = 2
_samplers: list[native.LockSampler] = []
# Whether who holds the lock can be read in this interpreter.
_is_readable = True


def _begun() -> native.LockSampler | None:
    """Have this thread watched, if there is a sampler that watches no other."""
    global _is_readable
    for sampler in _samplers:
        if sampler.begin():
            return sampler
    if not _is_readable or len(_samplers) >= _MOST_SAMPLERS:
        return None
    try:
        made = native.LockSampler()
    except RuntimeError:
        _is_readable = False
        return None
    # Another thread may have made one meanwhile: one too many does no harm.
    _samplers.append(made)
    return made if made.begin() else None
