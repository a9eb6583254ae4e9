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
from typing import Any, TypeAlias

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
    _Note: TypeAlias = "Callable[[CodeType, FrameType, Any], object]"

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

        def told(note: _Note, unwanted: object) -> Callable[..., object]:
            """Make a callback that has `note` called for the program's own code.

            What `note` returns, the interpreter is told; and `unwanted` for other code.
            """

            def callback(code: CodeType, _offset: int, about: Any = None) -> object:
                try:
                    if own.has(code):
                        return note(code, sys._getframe(1), about)
                    return unwanted
                except RecursionError:
                    # The program's: what could not be noted is not.
                    pass
                except Exception:
                    broke()
                return None

            return callback

        def started(code: CodeType, frame: FrameType, _: object) -> object:
            if code.co_flags & CO_COROUTINE:
                coroutines.resumed(code, frame, first=True)
                return None
            return None if watcher.began(code, frame) else monitoring.DISABLE

        def returned(code: CodeType, frame: FrameType, result: object) -> object:
            if code.co_flags & CO_COROUTINE:
                coroutines.paused(frame, over=True)
                return None
            return None if watcher.ended(code, result, returned=True) else monitoring.DISABLE

        def raised(code: CodeType, frame: FrameType, _: BaseException) -> None:
            if code.co_flags & CO_COROUTINE:
                coroutines.paused(frame, over=True)
            else:
                watcher.ended(code, None, returned=False)

        def paused(_: CodeType, frame: FrameType, _value: object) -> None:
            coroutines.paused(frame, over=False)

        def resumed(code: CodeType, frame: FrameType, _: object) -> None:
            coroutines.resumed(code, frame, first=False)

        monitoring.use_tool_id(tool, "plait which")
        off = monitoring.DISABLE
        callbacks = {
            events.PY_START: told(started, off),
            events.PY_RETURN: told(returned, off),
            events.PY_YIELD: told(paused, off),
            events.PY_RESUME: told(resumed, off),
            # These cannot be switched off.
            events.PY_UNWIND: told(raised, None),
            events.PY_THROW: told(resumed, None),
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
