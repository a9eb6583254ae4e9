"""The threads of a thread pool."""

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from plait import _watcher  # its exit hook comes after this one
from plait._binding import native

__all__ = ["Crew", "Member"]

_logger = logging.getLogger("concurrent.futures")


class Member(threading.Thread):
    """A thread of a crew.

    The interpreter takes it for a daemon and does not wait for it at its end: one that was
    abandoned may never end. Our own hook waits for those that were not. To whoever asks, it is
    none: what a thread starts inherits the mark.
    """

    def __init__(self, crew: "Crew", name: str) -> None:
        """Belong to a crew; not started yet."""
        super().__init__(name=name, daemon=True)
        self.crew = crew
        # Whoever acquires it decides: the thread to work, or its starter that it
        # must not. An interrupt can hit `start` after the thread has begun.
        self.claim = threading.Lock()

    def run(self) -> None:
        """Work until there is nothing more to do."""
        self._daemonic = False
        if self.claim.acquire(blocking=False):
            self.crew.work(self)

    def lose(self) -> None:
        """Do without it: its call was abandoned."""
        self.crew.replace(self)


class Crew:
    """The threads of one pool. They hold it and its queue; nobody of them holds the pool.

    Args:
        limit: how many threads at most.
        prefix: what their names begin with.
        set_up: called in each of them before its first call.
        waited: whether the interpreter's exit waits for the calls that were
            accepted. Otherwise those that have not begun are dropped then; all
            have to be made with terms. What waits for calls is told by the
            notifier: at that time nothing of ours may be on a thread's stack.

    """

    def __init__(
        self, limit: int, prefix: str, set_up: Callable[[], object] | None, waited: bool = True
    ) -> None:
        """Start no thread yet."""
        self.queue = native.ThreadQueue(limit, not waited)
        self.threads: set[threading.Thread] = set()
        self._prefix = prefix
        self._set_up = set_up
        self._numbers = count()
        self._waited = waited
        self._standing_in = threading.RLock()
        _exit.add(self.queue, waited)

    def start(self, withdraw: Callable[[], bool]) -> None:
        """Start a worker that the queue wants.

        Args:
            withdraw: called if that fails; tells whether nobody relies on the worker any more.

        """
        error = self._start()
        if error is None:
            return
        withdrawn = withdraw()
        # Others may have relied on it, too.
        self.queue.give_up(error)
        if withdrawn or not isinstance(error, Exception):
            raise error

    def _start(self) -> BaseException | None:
        """Start a worker; return what prevented that, if something did."""
        thread = Member(self, f"{self._prefix}_{next(self._numbers)}")
        self.threads.add(thread)
        if self._waited:
            _exit.add_thread(thread)
        try:
            thread.start()
        except BaseException as error:
            if not thread.claim.acquire(blocking=False):
                raise
            self.threads.discard(thread)
            _exit.forget(thread)
            return error
        return None

    def work(self, thread: Member) -> None:
        """Be a worker thread."""
        with self._serving() as ready:
            while ready and (call := self.queue.work()) is not None:
                # Imported by whoever has submitted it.
                from plait._thread_calls import run

                run(call, thread)
                if call.abandoned:
                    # Another has its place.
                    return
                del call

    @contextmanager
    def _serving(self) -> Iterator[bool]:
        """Set this thread up as a worker, and clean up after it; give whether it can work."""
        try:
            yield self._is_set_up()
        finally:
            # Only where a call has used it.
            if per_worker := sys.modules.get("plait._per_worker"):
                per_worker.close_here()

    def _is_set_up(self) -> bool:
        if self._set_up is not None:
            try:
                self._set_up()
            except BaseException as error:
                _logger.critical("Exception in initializer:", exc_info=True)
                self.queue.fail(error)
                self.queue.forgo()
                return False
        return True

    def wait(self) -> None:
        """Return when the queue, which was closed, is empty and the threads have ended."""
        self.queue.wait()
        self.stand_in()
        for thread in list(self.threads):
            thread.join()

    def stand_in(self) -> None:
        """Make the calls, in this thread, that none is left to make.

        Those with terms are refused instead: this thread may not be abandoned.
        """
        # Who waits for the calls waits for whoever has come first.
        with self._standing_in:
            if self.queue.stand_in():
                self._stand_in()

    def _stand_in(self) -> None:
        with self._serving() as ready:
            while ready and (call := self.queue.work()) is not None:
                call.refuse(
                    RuntimeError(
                        "this call was not made: the interpreter is exiting, no thread of the "
                        "pool is left (those that hang were abandoned), and it refuses others; "
                        "shut the pool down before the program ends"
                    )
                )

    def replace(self, thread: Member) -> None:
        """Do without a thread that does not come back from its call."""
        self.threads.discard(thread)
        _exit.forget(thread)
        if self.queue.lose() and not self._fill():
            _watcher.owe(self._fill)

    def _fill(self) -> bool:
        """Start a worker in the place of one that was lost; false: try again."""
        if self._start() is None:
            return True
        # Python 3.12.0 and 3.12.1 start no thread any more once the main thread has ended.
        if not _exit.add_stranded(self):
            return False
        self.queue.forgo()
        return True


class _Exit:
    """What has to end before the interpreter does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exiting = False
        self._queues: weakref.WeakSet[native.ThreadQueue] = weakref.WeakSet()
        # Those whose calls are dropped.
        self._unwaited: weakref.WeakSet[native.ThreadQueue] = weakref.WeakSet()
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        # Those who may have nobody left to make their calls.
        self._stranded: list[Crew] = []

    def add(self, queue: native.ThreadQueue, waited: bool) -> None:
        with self._lock:
            (self._queues if waited else self._unwaited).add(queue)
            if self._exiting:
                queue.close_at_exit()

    def add_thread(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.add(thread)

    def forget(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)

    def add_stranded(self, crew: Crew) -> bool:
        """Make the calls that a crew does not come to; false if that is too early."""
        with self._lock:
            if self._exiting:
                self._stranded.append(crew)
            return self._exiting

    def run(self) -> None:
        with self._lock:
            self._exiting = True
            queues = list(self._queues)
            unwaited = list(self._unwaited)
        for queue in (*queues, *unwaited):
            queue.close_at_exit()
        for queue in unwaited:
            queue.cancel_pending()
        for queue in queues:
            queue.wait()
        # Before its queue has ended who is stranded is here.
        while self._stranded:
            self._stranded.pop().stand_in()
        waited: set[threading.Thread] = set()
        # A thread that is waited for may start others.
        while threads := self._left(waited):
            started = {thread for thread in threads if thread.ident is not None}
            for thread in started:
                thread.join()
            waited |= started
            if not started:
                # They are being started; what could not be is forgotten.
                time.sleep(0.001)

    def _left(self, waited: set[threading.Thread]) -> set[threading.Thread]:
        with self._lock:
            return set(self._threads) - waited


_exit = _Exit()


def _after_fork_in_child() -> None:
    # The parent's threads do not exist here, and one may have held the lock.
    global _exit
    _exit = _Exit()


threading._register_atexit(lambda: _exit.run())  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)
