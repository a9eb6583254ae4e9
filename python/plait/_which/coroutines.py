"""Noting what the program's coroutines cost: their steps, and the time from first to last."""

from __future__ import annotations

from time import perf_counter, thread_time
from types import CodeType, FrameType

from plait._which.record import Record
from plait._which.watcher import Call, Thread, Watcher

__all__ = ["Coroutines"]


class _Run(Call):
    """A coroutine that is under way; while it is in a step, it is one of its thread's calls."""

    __slots__ = ("cpu", "step", "stepped", "was")

    def __init__(self, record: Record) -> None:
        super().__init__(record, inner=False)
        self.stepped = self.cpu = 0.0
        # When the step began, by the clock and by the CPU clock.
        self.step = self.was = 0.0


class Coroutines:
    """Notes what is told of the coroutines in the threads of a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        # By the `id` of their frame, which lives until they are over.
        self._runs: dict[int, _Run] = {}

    def resumed(self, code: CodeType, frame: FrameType, *, first: bool) -> None:
        """Note that a step begins."""
        entered = perf_counter()
        thread = self._watcher.thread()
        if first:
            run = self._runs[id(frame)] = _Run(thread.record(code))
            run.start = entered
            if not run.record.under_way:
                run.record.since = entered - thread.lost
            run.record.under_way += 1
        else:
            known = self._runs.get(id(frame))
            if known is None:
                # It began before it was watched.
                return
            run = known
        thread.calls.append(run)
        run.was = thread_time()
        run.step = perf_counter()
        thread.lost += run.step - entered
        run.lost = thread.lost

    def paused(self, frame: FrameType, *, over: bool) -> None:
        """Note that it ends; and with it the coroutine, if that is over."""
        end = perf_counter()
        run = self._runs.get(id(frame))
        thread = self._watcher.thread()
        if run is None or run not in thread.calls:
            return
        # What it called has ended, but for calls whose end was not told.
        while (call := thread.calls.pop()) is not run:
            thread.active.discard(id(call.record.code))
        lost = thread.lost - run.lost
        run.stepped += max(0.0, end - run.step - lost)
        run.cpu += max(0.0, thread_time() - run.was - lost)
        if over:
            del self._runs[id(frame)]
            self._note(thread, run, end)
        thread.lost += perf_counter() - end

    def _note(self, thread: Thread, run: _Run, end: float) -> None:
        record, wall = run.record, end - run.start
        if not record.calls:
            record.first = wall
        record.calls += 1
        record.wall += wall
        record.seen += 1
        record.seen_wall += wall
        record.stepped += run.stepped
        record.cpu += min(run.cpu, run.stepped)
        record.under_way -= 1
        if not record.under_way:
            record.covered += max(0.0, end - thread.lost - record.since)
        thread.credit(record, wall)
