"""The rows of the servers' table."""

from dataclasses import dataclass

from loop.load import Traffic

KIB = 1024


@dataclass(frozen=True)
class Bar:
    """At most so many times the limit, and at least so many times as fast as the reference."""

    of_limit: float | None = None
    of_reference: float | None = None


@dataclass(frozen=True)
class ServerRow:
    """A server under a load, the bare server that is its limit, and the bar.

    `used`: the server has been through connections that closed, as one has that runs for long.
    """

    name: str
    title: str
    app: str
    traffic: Traffic
    limit: str | None
    bar: Bar
    used: bool = False

    @property
    def tls(self) -> bool:
        """Whether it needs a certificate."""
        return self.traffic.kind == "tls"


def _echo(connections: int, size: int) -> Traffic:
    return Traffic("echo", connections, size)


ROWS = (
    ServerRow(
        "echo-1k", "1 KiB, 10 connections", "protocol", _echo(10, KIB), "stream", Bar(1.10, 1.12)
    ),
    ServerRow(
        "echo-1k-1000",
        "1 KiB, 1,000 connections",
        "protocol",
        _echo(1000, KIB),
        "stream",
        Bar(1.20, 1.12),
    ),
    ServerRow(
        "echo-1k-1",
        "1 KiB, 1 connection (mostly waking up)",
        "protocol",
        _echo(1, KIB),
        "stream",
        Bar(1.10, 1.0),
    ),
    ServerRow(
        "echo-10k",
        "10 KiB, 10 connections",
        "protocol",
        _echo(10, 10 * KIB),
        "stream",
        Bar(1.12, 1.1),
    ),
    ServerRow(
        "echo-100k",
        "100 KiB, 10 connections",
        "protocol",
        _echo(10, 100 * KIB),
        "stream",
        Bar(1.08, 1.05),
    ),
    ServerRow(
        "buffered-1k",
        "`BufferedProtocol`, 1 KiB",
        "buffered",
        _echo(10, KIB),
        "stream",
        Bar(1.12, 1.15),
    ),
    ServerRow(
        "streams-1k", "streams, 1 KiB", "streams", _echo(10, KIB), "stream", Bar(of_reference=1.3)
    ),
    ServerRow(
        "streams-100k",
        "streams, 100 KiB",
        "streams",
        _echo(10, 100 * KIB),
        "stream",
        Bar(of_reference=1.8),
    ),
    ServerRow("tls-1k", "TLS, 1 KiB", "tls", Traffic("tls", 10, KIB), "tls", Bar(1.45, 3.5)),
    ServerRow(
        "tls-100k", "TLS, 100 KiB", "tls", Traffic("tls", 10, 100 * KIB), "tls", Bar(1.3, 2.1)
    ),
    ServerRow(
        "udp-1k", "UDP, 1 KiB", "datagram", Traffic("datagram", 10, KIB), "datagram", Bar(1.2, 1.35)
    ),
    ServerRow(
        "uvicorn",
        "uvicorn with httptools, hello world, 64 connections",
        "uvicorn",
        Traffic("http", 64),
        None,
        Bar(of_reference=1.08),
        used=True,
    ),
    ServerRow(
        "aiohttp",
        "aiohttp server, hello world, 64 connections",
        "aiohttp",
        Traffic("http", 64),
        None,
        Bar(of_reference=1.05),
        used=True,
    ),
)
