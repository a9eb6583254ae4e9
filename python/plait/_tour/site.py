"""The web site that the tour fetches: its pages, and its server in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

__all__ = ["HOST", "Site", "page"]

HOST = "127.0.0.1"


def page(number: int) -> bytes:
    """Make page `number`: some 20 kB that no other page has."""
    rows = "".join(f"<li>page {number}, row {row}: {number * row}</li>\n" for row in range(600))
    return f"<!doctype html><title>Page {number}</title>\n<ol>\n{rows}</ol>\n".encode()


class Site:
    """A running server; use it in a `with` statement."""

    def __init__(self, delay: float) -> None:
        """Start the server, which answers `delay` seconds after a request, and wait for it.

        Raises:
            RuntimeError: It did not start.
        """
        # Its standard input is its lifeline: it ends when this end closes,
        # however this process ends. A session of its own keeps Ctrl-C away.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "plait._tour.server", str(delay)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            # The tour has said already if this is a debug build.
            env={**os.environ, "PLAIT_ALLOW_DEBUG": "1"},
        )
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            if not line:
                status = self._process.wait()
                raise RuntimeError(f"the tour's HTTP server ended at once, with status {status}")
            self.port = int(line)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill the server and reap it."""
        self._process.kill()
        # Also closes the pipes.
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
