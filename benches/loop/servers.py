"""Measures servers: their CPU time for an answer, on one core, under load from another."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from child import Child, Unable, python
from loop.load import PROGRAM, Sample, certificate, drive
from loop.server_rows import ServerRow
from rounds import rotated

# The bare server's name among the loops'.
LIMIT = "limit"
# How long a server may take to start.
START = 30.0


@dataclass
class ServerResult:
    """What a row gave: samples by loop, and why a loop has none."""

    row: ServerRow
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)


class Bench:
    """The cores and the certificate that all rows share."""

    def __init__(self, server_cpu: int, load_cpu: int, folder: Path) -> None:
        self._server_cpu, self._load_cpu = server_cpu, load_cpu
        self._certificate, self._key = folder / "certificate.pem", folder / "key.pem"
        self._no_tls = certificate(folder)

    def _command(self, name: str, row: ServerRow) -> list[str]:
        paths = (str(self._certificate), str(self._key))
        if name != LIMIT:
            return python("loop.serve", name, row.app, str(self._server_cpu), *paths)
        assert row.limit is not None
        options = ("--cpu", str(self._server_cpu), "--certificate", paths[0], "--key", paths[1])
        return [str(PROGRAM), "serve", row.limit, *options]

    def measure(
        self, row: ServerRow, peers: Sequence[str], rounds: int, seconds: float
    ) -> ServerResult:
        """Load every loop's server in turn, so many times."""
        result = ServerResult(row)
        names = [*peers, *([LIMIT] if row.limit else [])]
        if row.tls and self._no_tls:
            result.unable = dict.fromkeys(names, self._no_tls)
            return result
        for turn in range(rounds):
            for name in rotated([name for name in names if name not in result.unable], turn):
                try:
                    sample = self._sample(row, name, seconds)
                except Unable as error:
                    result.unable[name] = str(error)
                    result.samples.pop(name, None)
                else:
                    result.samples.setdefault(name, []).append(sample)
        # In the order of the table, whoever came first.
        result.samples = {name: result.samples[name] for name in names if name in result.samples}
        return result

    def _sample(self, row: ServerRow, name: str, seconds: float) -> Sample:
        # Every round has a new server. In one that has been through a round already, a connection
        # that closed may have freed a large buffer, which raises the allocator's map threshold:
        # what reads into such buffers is then up to four times as fast as in a new one.
        with Child(self._command(name, row)) as child:
            answer = child.answer(START)
            port = answer if name == LIMIT else answer["port"]
            if row.used:
                self._drive(row, child, port, seconds / 3)
            return self._drive(row, child, port, seconds)

    def _drive(self, row: ServerRow, child: Child, port: int, seconds: float) -> Sample:
        return drive(
            row.traffic,
            port=port,
            pid=child.pid,
            cpu=self._load_cpu,
            seconds=seconds,
            certificate=self._certificate,
        )


def measure(
    rows: Sequence[ServerRow],
    peers: Sequence[str],
    *,
    cores: Sequence[int],
    rounds: int,
    seconds: float,
) -> list[ServerResult]:
    """Measure rows one after another."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(cores[0], cores[1], Path(folder))
        for row in rows:
            print(f"{row.name} ...", file=sys.stderr, flush=True)
            results.append(bench.measure(row, peers, rounds, seconds))
    return results
