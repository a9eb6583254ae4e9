"""How an executor of processes is shut down, by whoever holds it."""

from types import TracebackType

from plait import _notifier
from plait._interrupt import is_interrupt
from plait._process_exit import Ending

__all__ = ["Closing"]


class Closing:
    """The methods of an executor that end its pool."""

    _ending: Ending

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the workers when those accepted are done.

        Args:
            wait: whether to return only then, with every process reaped.
            cancel_futures: whether to cancel the calls that have not begun.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        self._ending.close(wait and not _notifier.is_current(), cancel=cancel_futures)
        if wait:
            self._ending.wait()

    def terminate_workers(self) -> None:
        """Take no more calls, cancel those that have not begun, end the others.

        Does not wait. Workers get SIGTERM, which ends them unless a task has a
        handler of its own, and SIGKILL if they are still there a moment later.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        self._ending.end()

    def kill_workers(self) -> None:
        """Do as `terminate_workers`, by SIGKILL at once.

        Raises:
            RuntimeError: the pool belongs to the process that this one was
                forked from.

        """
        self._ending.terminate(0.0)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Shut down and wait; after Ctrl-C, end what runs rather than wait for it.

        Nothing in a process that was forked inside of the block and leaves it.
        """
        if self._ending.is_inherited:
            return None
        try:
            if exc_type is not None:
                if is_interrupt(exc_type):
                    self._ending.end()
                # Whoever reads an input without end must get to see the error.
                self._ending.abandon_feeds()
            self.shutdown(wait=True)
        except KeyboardInterrupt:
            self._ending.end_now()
            raise
        return None
