"""The rows of the callbacks' table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from loop.micro import calls, processes, sockets, tasks, timers
from loop.micro.watch import Program, inside


class Unit(Enum):
    """How a figure is shown."""

    THOUSANDS = "thousand/s"
    RATE = "1/s"
    MEGABYTES = "MB/s"
    MICROSECONDS = "µs each"


@dataclass(frozen=True)
class CallbackRow:
    """A program, how it is shown, and its bar.

    Where the bar is None, the row is not to be behind the best of the peers that the issue names.
    `step` is what the count is a multiple of; a row of more than one thread or process has all
    cores.
    """

    name: str
    title: str
    program: Program
    bar: float | None
    unit: Unit = Unit.THOUSANDS
    step: int = 1
    one_core: bool = True


ROWS = (
    CallbackRow("self", "a callback that schedules itself", inside(calls.itself), 3.0),
    CallbackRow("bulk", "`call_soon` in bulk", inside(calls.bulk), 2.2),
    CallbackRow(
        "bulk-args", "`call_soon` in bulk, with arguments", inside(calls.bulk_arguments), 1.9
    ),
    CallbackRow("sleep", "`sleep(0)`, one task", inside(tasks.sleep_one), 2.0),
    CallbackRow(
        "sleep-100", "`sleep(0)`, a hundred tasks", inside(tasks.sleep_hundred), 1.2, step=100
    ),
    CallbackRow("create", "create a task and await it", inside(tasks.create), 1.5),
    CallbackRow("gather", "gather a thousand", inside(tasks.gather), 1.1, step=1000),
    CallbackRow("queue", "queue ping-pong", inside(tasks.queue), 1.3),
    CallbackRow("wait-for", "`wait_for` that times out", inside(tasks.wait_for), 1.25),
    CallbackRow("timers-fired", "timers set and fired", inside(timers.fired), 1.3),
    CallbackRow("timers-cancelled", "timers set and cancelled", inside(timers.cancelled), 4.0),
    CallbackRow(
        "timers-pending",
        "timers cancelled over 100,000 pending",
        inside(timers.cancelled_over_many),
        2.6,
    ),
    CallbackRow(
        "threadsafe",
        "`call_soon_threadsafe` from another thread",
        inside(calls.threadsafe),
        2.2,
        one_core=False,
    ),
    CallbackRow("sock", "`sock_*` ping-pong", inside(sockets.sock_calls), 1.8),
    CallbackRow("streams", "in-process streams ping-pong", inside(sockets.streams), 1.1),
    CallbackRow(
        "subprocess",
        "subprocesses, one after another",
        inside(processes.one_by_one),
        2.6,
        Unit.RATE,
        one_core=False,
    ),
    CallbackRow(
        "subprocess-10",
        "subprocesses, ten at once",
        inside(processes.ten_at_once),
        3.3,
        Unit.RATE,
        step=10,
        one_core=False,
    ),
    CallbackRow(
        "pipe",
        "subprocess pipe, there and back",
        inside(processes.pipe),
        1.0,
        Unit.MEGABYTES,
        step=processes.PIPED,
        one_core=False,
    ),
    CallbackRow(
        "wake-up",
        "thread-safe wake-up latency",
        inside(calls.wake_up),
        None,
        Unit.MICROSECONDS,
        one_core=False,
    ),
    CallbackRow("executor", "executor round trips", inside(calls.executor), None, one_core=False),
    CallbackRow("connect", "connect and close", inside(sockets.connect), None),
    CallbackRow("getaddrinfo", "numeric `getaddrinfo`", inside(sockets.addresses), None),
    CallbackRow("new-loop", "creating and closing a loop", calls.new_loop, None),
)

BY_NAME: Mapping[str, CallbackRow] = MappingProxyType({row.name: row for row in ROWS})
