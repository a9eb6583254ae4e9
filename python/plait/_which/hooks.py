"""Being told of the program's calls: by `sys.monitoring`, and on 3.11 by the profiler's hook.

Coroutines are told of from 3.12 on: before, a pause of one looks like its end.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from inspect import CO_COROUTINE
from types import CodeType, FrameType
from typing import Any

from plait._which.coroutines import Coroutines
from plait._which.own import Own
from plait._which.watcher import Watcher

__all__ = ["watch"]

#: Tools of `sys.monitoring` that no standard tool is.
_TOOLS = (4, 3)


def watch(watcher: Watcher, failed: Callable[[str], None]) -> Callable[[], None]:
    """Tell `watcher` of every call of the program's own functions, in all threads.

    Args:
        watcher: Whom to tell.
        failed: Called with a traceback if that went wrong: nothing is told from then on, and the
            program goes on.

    Returns:
        What ends it.
    """
    if sys.version_info >= (3, 12):
        return _by_monitoring(watcher, failed)
    return _by_profiling(watcher, failed)


if sys.version_info >= (3, 12):

    def _by_monitoring(watcher: Watcher, failed: Callable[[str], None]) -> Callable[[], None]:
        monitoring = sys.monitoring
        events = monitoring.events
        tool = next((tool for tool in _TOOLS if monitoring.get_tool(tool) is None), None)
        if tool is None:
            raise RuntimeError("sys.monitoring is taken by other tools")
        own, coroutines = Own(), Coroutines(watcher)

        def stop() -> None:
            if monitoring.get_tool(tool) == "plait which":
                monitoring.set_events(tool, 0)
                monitoring.free_tool_id(tool)

        def broke() -> None:
            stop()
            failed(traceback.format_exc())

        def started(code: CodeType, _offset: int) -> Any:
            try:
                if not own.has(code):
                    return monitoring.DISABLE
                if code.co_flags & CO_COROUTINE:
                    coroutines.resumed(code, sys._getframe(1), first=True)
                elif not watcher.began(code, sys._getframe(1)):
                    return monitoring.DISABLE
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()
            return None

        def returned(code: CodeType, _offset: int, result: object) -> Any:
            try:
                if not own.has(code):
                    return monitoring.DISABLE
                if code.co_flags & CO_COROUTINE:
                    coroutines.paused(sys._getframe(1), over=True)
                elif not watcher.ended(code, result, returned=True):
                    return monitoring.DISABLE
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()
            return None

        def raised(code: CodeType, _offset: int, _error: BaseException) -> None:
            try:
                if own.has(code):
                    if code.co_flags & CO_COROUTINE:
                        coroutines.paused(sys._getframe(1), over=True)
                    else:
                        watcher.ended(code, None, returned=False)
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()

        def paused(code: CodeType, _offset: int, _value: object) -> Any:
            try:
                if not own.has(code):
                    return monitoring.DISABLE
                coroutines.paused(sys._getframe(1), over=False)
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()
            return None

        def resumed(code: CodeType, _offset: int) -> Any:
            try:
                if not own.has(code):
                    return monitoring.DISABLE
                coroutines.resumed(code, sys._getframe(1), first=False)
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()
            return None

        def thrown(code: CodeType, _offset: int, _error: BaseException) -> None:
            try:
                # Generators are no functions of ours, and this event cannot be switched off.
                if own.has(code):
                    coroutines.resumed(code, sys._getframe(1), first=False)
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                broke()

        monitoring.use_tool_id(tool, "plait which")
        callbacks: dict[int, Callable[..., Any]] = {
            events.PY_START: started,
            events.PY_RETURN: returned,
            events.PY_UNWIND: raised,
            events.PY_YIELD: paused,
            events.PY_RESUME: resumed,
            events.PY_THROW: thrown,
        }
        for event, callback in callbacks.items():
            monitoring.register_callback(tool, event, callback)
        monitoring.set_events(tool, sum(callbacks))
        return stop

else:

    def _by_profiling(watcher: Watcher, failed: Callable[[str], None]) -> Callable[[], None]:
        own = Own()

        def stop() -> None:
            threading.setprofile(None)
            sys.setprofile(None)

        def hook(frame: FrameType, event: str, result: object) -> None:
            if event != "call" and event != "return":
                return
            code = frame.f_code
            try:
                # Here it is not told whether a coroutine is over or pauses.
                if not own.has(code) or code.co_flags & CO_COROUTINE:
                    return
                if event == "call":
                    watcher.began(code, frame)
                else:
                    # A call that raised ends like one that returned None.
                    watcher.ended(code, result, returned=True)
            except RecursionError:
                # The program's: what could not be noted is not.
                pass
            except Exception:
                stop()
                failed(traceback.format_exc())

        threading.setprofile(hook)
        sys.setprofile(hook)
        return stop
