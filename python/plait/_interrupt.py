"""Whether what ends is ended by Ctrl-C."""

import signal
import sys

__all__ = ["ends_by_interrupt", "is_interrupt"]


def is_interrupt(exc_type: type[BaseException]) -> bool:
    """Whether an exception is what Ctrl-C makes: inside `asyncio.run`, a cancellation."""
    if issubclass(exc_type, KeyboardInterrupt):
        return True
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not issubclass(exc_type, asyncio.CancelledError):
        return False
    # The runner's handler of SIGINT counts; there is no public way to ask it.
    handler = getattr(signal.getsignal(signal.SIGINT), "func", None)
    runner = getattr(handler, "__self__", None)
    return isinstance(runner, asyncio.Runner) and getattr(runner, "_interrupt_count", 0) > 0


def ends_by_interrupt() -> bool:
    """Whether the interpreter is ending because nobody caught a Ctrl-C."""
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return (
        isinstance(last, KeyboardInterrupt)
        and not hasattr(sys, "ps1")
        and not sys.flags.interactive
    )
