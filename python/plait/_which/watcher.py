"""Noting what the program's functions cost, call by call."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from time import perf_counter
from types import CodeType, FrameType

from plait._binding import native
from plait._which.carrying import arguments_of, carry
from plait._which.record import Carried, Record

__all__ = ["Call", "Thread", "Watcher"]

#: Seconds between two samples of a thread, and how many threads are sampled at a time.
_PERIOD = 0.0005
_SAMPLED = 8
#: In these calls, the first being 0, the arguments and the result are pickled.
_CARRIED = (1, 2)
#: Seconds after which none are any more.
_MOST = 2.0

_Seen = tuple[int, int, dict[str, int]]


class Call:
    """A call that is under way."""

    __slots__ = ("before", "inner", "lost", "probe", "record", "start")

    def __init__(self, record: Record, inner: bool) -> None:
        self.record = record
        # Within another call of the same function.
        self.inner = inner
        self.probe: native.Probe | None = None
        self.before: _Seen | None = None
        self.start = self.lost = 0.0


class Thread:
    """What is noted of one thread."""

    def __init__(self, sampler: native.LockSampler | None) -> None:
        # By the `id` of their code, which they keep: to hash code is slow.
        self.records: dict[int, Record] = {}
        self.calls: list[Call] = []
        self.active: set[int] = set()
        # Seconds that measuring itself has taken: no function's.
        self.lost = 0.0
        self.sampler = sampler

    def record(self, code: CodeType) -> Record:
        """Return what is noted of a function, from now on if nothing was."""
        found = self.records.get(id(code))
        if found is None:
            found = self.records[id(code)] = Record(code)
        return found

    def credit(self, record: Record, seconds: float) -> None:
        """Note whose call this was: that of whoever runs now."""
        caller = id(self.calls[-1].record.code) if self.calls else 0
        record.callers[caller] = record.callers.get(caller, 0.0) + seconds

    def sampled(self) -> _Seen | None:
        return self.sampler.so_far() if self.sampler is not None else None


class _Ending:
    """Ends the sampling of a thread when its local variables go: with the thread."""

    def __init__(self, watcher: Watcher, thread: Thread) -> None:
        self._watcher = watcher
        self._thread = thread

    def __del__(self) -> None:
        self._watcher._release(self._thread)


class _Local(threading.local):
    thread: Thread | None = None
    ending: _Ending | None = None


class Watcher:
    """Notes what is told to `began` and `ended`, in the thread where it happens."""

    def __init__(self) -> None:
        self._local = _Local()
        # Those that may go on, those that have ended, and what was noted of those taken apart.
        self._threads: dict[int, Thread] = {}
        self._ended: deque[Thread] = deque()
        self._merged: dict[int, Record] = {}
        self._merging = threading.Lock()
        self._several = False
        # Seconds that pickling has taken.
        self._carrying = 0.0
        self._samplers: list[native.LockSampler] = []
        # Where who holds the interpreter lock cannot be read, the signals say so.
        with contextlib.suppress(RuntimeError):
            self._samplers = [native.LockSampler(_PERIOD, steady=True) for _ in range(_SAMPLED)]
        self._first = self._attach()

    def thread(self) -> Thread:
        """Return what is noted of the calling thread."""
        return self._local.thread or self._attach()

    def began(self, code: CodeType, frame: FrameType) -> bool:
        """Note that a call of a function of the program's own begins.

        Returns:
            Whether calls of it are worth being told of.
        """
        entered = perf_counter()
        thread = self.thread()
        key = id(code)
        record = thread.record(code)
        if record.is_tiny():
            return False
        call = Call(record, key in thread.active)
        thread.calls.append(call)
        if call.inner:
            thread.lost += perf_counter() - entered
            return True
        thread.active.add(key)
        if self._carries(record, record.arguments):
            carry(record.arguments, "argument", arguments_of(code, frame))
            self._carrying += perf_counter() - entered
        if record.looks():
            call.probe = native.Probe()
            call.before = thread.sampled()
            call.probe.begin()
        call.start = perf_counter()
        thread.lost += call.start - entered
        call.lost = thread.lost
        return True

    def ended(self, code: CodeType, result: object, returned: bool) -> bool:
        """Note that it has ended.

        Args:
            code: Its code.
            result: What it returned.
            returned: False if it raised.

        Returns:
            Whether calls of it are worth being told of.
        """
        end = perf_counter()
        thread = self._local.thread
        if thread is None:
            return True
        if id(code) not in thread.active:
            # It is tiny, or began before it was watched, or in another greenlet of this thread.
            known = thread.records.get(id(code))
            return known is None or not known.is_tiny()
        call = thread.calls.pop()
        while call.record.code is not code:
            # Those of other greenlets: what they take cannot be told apart.
            if not call.inner:
                thread.active.discard(id(call.record.code))
            call = thread.calls.pop()
        if call.inner:
            thread.lost += perf_counter() - end
            return True
        record = call.record
        wall = max(0.0, end - call.start - (thread.lost - call.lost))
        if call.probe is not None:
            self._look(thread, call, wall, thread.lost - call.lost)
        if not record.calls:
            record.first = wall
        if returned and self._carries(record, record.results):
            carry(record.results, "result", {"": result})
            self._carrying += perf_counter() - end
        record.calls += 1
        record.wall += wall
        thread.credit(record, wall)
        thread.active.discard(id(code))
        thread.lost += perf_counter() - end
        return True

    def _carries(self, record: Record, what: Carried) -> bool:
        """Whether to try what carrying this call's arguments or result takes."""
        return record.calls in _CARRIED and what.problem is None and self._carrying < _MOST

    def _look(self, thread: Thread, call: Call, wall: float, lost: float) -> None:
        record = call.record
        assert call.probe is not None
        _, cpu, queued, process_cpu, pauses = call.probe.end()
        record.seen += 1
        record.seen_wall += wall
        # Measuring inside this call took CPU time too.
        record.cpu += max(0.0, cpu - lost)
        record.process_cpu += max(0.0, process_cpu - lost)
        record.queued += queued
        record.pauses += pauses
        after = thread.sampled()
        if call.before is not None and after is not None:
            record.samples += after[0] - call.before[0]
            record.held += after[1] - call.before[1]
            for on, count in after[2].items():
                record.waits[on] += count - call.before[2].get(on, 0)

    def _attach(self) -> Thread:
        sampler = self._samplers.pop() if self._samplers else None
        if sampler is not None and not sampler.begin():
            sampler = None
        thread = Thread(sampler)
        self._several = self._several or bool(self._threads)
        self._threads[id(thread)] = thread
        with self._merging:
            # A program may make any number of threads.
            self._merge_ended()
        self._local.thread = thread
        self._local.ending = _Ending(self, thread)
        return thread

    def _release(self, thread: Thread) -> None:
        sampler, thread.sampler = thread.sampler, None
        if sampler is not None:
            sampler.end()
            self._samplers.append(sampler)
        self._ended.append(thread)

    def _merge_ended(self) -> None:
        while self._ended:
            thread = self._ended.popleft()
            del self._threads[id(thread)]
            _merge(self._merged, thread)

    @property
    def lost(self) -> float:
        """Seconds that measuring has taken in the thread that made this."""
        return self._first.lost

    def records(self) -> list[Record]:
        """Return what was noted of each function, all threads together; once, at the end."""
        with self._merging:
            self._merge_ended()
            for thread in list(self._threads.values()):
                _merge(self._merged, thread)
            self._threads.clear()
        found = [one for one in self._merged.values() if one.calls and not one.is_tiny()]
        for record in found:
            record.crowded = self._several
        return found


def _merge(records: dict[int, Record], thread: Thread) -> None:
    for key, record in list(thread.records.items()):
        records.setdefault(key, Record(record.code)).merge(record)
