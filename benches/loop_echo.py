"""plait's loop beside asyncio's and uvloop: the server's CPU time for an echo of 1 KiB.

Each loop serves in a process of its own, all pinned to one core; the load comes from this process,
on another, over ten connections: it sends on all, then reads from all, and checks every byte. Only
the server's CPU time counts, so the load generator's own speed does not; "busy" tells how much of
the wall time the server was at work. Rounds are interleaved; medians count.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from report import cpu_seconds, machine, median, parser, table, write

CONNECTIONS = 10
SIZE = 1024
TURNS = 2_000
LOOPS = [name for name in ("asyncio", "uvloop", "plait") if importlib.util.find_spec(name)]


class Server:
    """A server process, its connections open and warm."""

    def __init__(self, loop: str, cpu: int) -> None:
        self.loop = loop
        script = Path(__file__).with_name("echo_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), loop, str(cpu)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {loop} server ended with {self.process.wait()}")
        self.sockets = [
            socket.create_connection(("127.0.0.1", int(line))) for _ in range(CONNECTIONS)
        ]
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hang up, and see it end."""
        for each in self.sockets:
            each.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if status and error is None:
            raise RuntimeError(f"the {self.loop} server ended with {status}")

    def echo(self, turns: int) -> None:
        """Send a message on each connection and read it back, so many times."""
        for turn in range(turns):
            message = turn.to_bytes(4, "big") * (SIZE // 4)
            for each in self.sockets:
                each.sendall(message)
            for each in self.sockets:
                answer = each.recv(SIZE, socket.MSG_WAITALL)
                if answer != message:
                    raise RuntimeError(f"the {self.loop} server sent back something else")


@dataclass(frozen=True)
class Sample:
    """One loop in one round, in seconds a message."""

    cpu: float
    wall: float


def measure(server: Server) -> Sample:
    """Measure one loop once."""
    pid = [server.process.pid]
    server.echo(TURNS // 10)
    cpu, begun = cpu_seconds(pid), time.perf_counter()
    server.echo(TURNS)
    wall, cpu = time.perf_counter() - begun, cpu_seconds(pid) - cpu
    return Sample(cpu / (TURNS * CONNECTIONS), wall / (TURNS * CONNECTIONS))


def report(samples: dict[str, list[Sample]], facts: Sequence[str], rounds: int) -> list[str]:
    """Lay out the results."""
    cpu = {name: 1e6 * median([each.cpu for each in found]) for name, found in samples.items()}
    wall = {name: 1e6 * median([each.wall for each in found]) for name, found in samples.items()}
    rows = [
        [
            name,
            f"{cpu[name]:.2f}",
            f"{cpu['asyncio'] / cpu[name]:.2f}",
            f"{cpu['uvloop'] / cpu[name]:.2f}" if "uvloop" in cpu else "not installed",
            f"{100 * cpu[name] / wall[name]:.0f} %",
        ]
        for name in samples
    ]
    header = ["loop", "server CPU a message, µs", "times asyncio", "times uvloop", "busy"]
    return [
        "# Echo: the server's CPU time for a message",
        "",
        f"{SIZE} bytes there and back under a `Protocol`, {CONNECTIONS} connections, server pinned"
        f" to one core; medians of {rounds} interleaved rounds of"
        f" {TURNS * CONNECTIONS:,} messages.",
        "",
        *facts,
        "",
        *table(header, rows),
    ]


def main() -> None:
    """Run the rounds and report."""
    options = parser(__doc__ or "").parse_args()
    facts = machine()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("error: the load needs a core of its own, and this machine has one")
    os.sched_setaffinity(0, set(cores[1:]))
    samples: dict[str, list[Sample]] = {name: [] for name in LOOPS}
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(name, cores[0])) for name in LOOPS]
        for _ in range(options.rounds):
            for server in servers:
                samples[server.loop].append(measure(server))
    write("loop_echo", report(samples, facts, options.rounds), record=options.record)


if __name__ == "__main__":
    main()
