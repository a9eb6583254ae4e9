"""Processes that are measured: each tells a line of JSON at a time."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BENCHES = Path(__file__).resolve().parent


# How long a process may take to end that has closed its output.
ENDING = 10.0


class Unable(Exception):
    """A loop cannot do what a row asks; the message says why."""


def reason(error: Exception) -> str:
    """Say in a line why something did not work."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of these benchmarks."""
    return [sys.executable, "-m", module, *arguments]


class Child:
    """A process with its standard input and output held here."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": str(BENCHES)},
            # What it has started ends with it, in whatever way it ends.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._pending = b""

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def tell(self, message: object) -> None:
        """Give it a line.

        Raises:
            Unable: it has ended.
        """
        try:
            self._input.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise Unable(self.last_words()) from None

    def answer(self, limit: float) -> Any:
        """Wait for its next line.

        Raises:
            Unable: it says that it cannot, ends, or says nothing for that many seconds.
        """
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise Unable(f"nothing came of it in {limit:.0f} s")
                data = os.read(self._output.fileno(), 65536)
                if not data:
                    raise Unable(self.last_words())
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        found = json.loads(line)
        if isinstance(found, dict) and "unable" in found:
            raise Unable(found["unable"])
        return found

    def hang_up(self) -> None:
        """Let its standard input end."""
        self._input.close()

    def finish(self) -> None:
        """Wait for it to end by itself, which it is about to do.

        Raises:
            Unable: it does not, or says that it failed.
        """
        words = self.last_words()
        if self._process.returncode != 0:
            raise Unable(words)

    def last_words(self) -> str:
        """Wait for its end, which is near, and say how that was."""
        try:
            status = self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            return "it has closed its output and goes on"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ending}: {lines[-1].strip()}" if lines else ending

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._input.close()
        self._output.close()
        self._errors.close()
