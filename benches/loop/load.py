"""The load generator and the bare servers, which are the package benches/load."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from child import Unable
from report import ROOT

PROGRAM = ROOT / "target/load/release/plait-load"


@dataclass(frozen=True)
class Traffic:
    """What is sent: of which kind, over how many connections, how many bytes at a time."""

    kind: str
    connections: int
    size: int = 0


@dataclass(frozen=True)
class Sample:
    """What one run of the load gave; times in seconds."""

    operations: int
    wall: float
    server_cpu: float
    generator_cpu: float
    p50: float
    p99: float
    p999: float

    @property
    def cpu(self) -> float:
        """The server's time on its core for each answer."""
        return self.server_cpu / self.operations


def build() -> None:
    """Bring the program up to date."""
    subprocess.run([str(ROOT / "tools/load"), "build", "--release"], check=True)


def certificate(folder: Path) -> str | None:
    """Write a certificate and its key into a folder; say why not, if that cannot be."""
    answer = subprocess.run(
        [str(PROGRAM), "certificate", str(folder)], capture_output=True, text=True
    )
    return answer.stderr.strip() if answer.returncode else None


def drive(
    traffic: Traffic, *, port: int, pid: int, cpu: int, seconds: float, certificate: Path
) -> Sample:
    """Load a server for a time, after a third of that to warm up.

    Raises:
        Unable: the server does not answer as it should.
    """
    options = {
        "cpu": cpu,
        "port": port,
        "pid": pid,
        "connections": traffic.connections,
        "size": traffic.size,
        "warm": seconds / 3,
        "seconds": seconds,
        "certificate": certificate,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    answer = subprocess.run(
        [str(PROGRAM), "drive", traffic.kind, *words], capture_output=True, text=True
    )
    if answer.returncode:
        raise Unable(f"under load: {answer.stderr.strip()}")
    return Sample(**json.loads(answer.stdout))
