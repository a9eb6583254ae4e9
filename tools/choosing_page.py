"""Writes what `plait which` prints into docs/choosing.md.

    python tools/choosing_page.py

The page has blocks of a command, `$ plait which ...`, and what it prints; each is run in the folder
of the examples, beside their server, and its output put in place of the old one. Blocks of commands
alone are left as they are.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "choosing.md"
EXAMPLES = ROOT / "examples"
# The port of the server, as the page has it.
PORT = "8765"

_BLOCK = re.compile(
    r"^```console\n\$ (plait which [^\n]*)\n(?!\$|```)(.+?)```$", re.MULTILINE | re.DOTALL
)


def shown(text: str) -> list[tuple[str, str]]:
    """Find the commands of a page that stand with what they print."""
    return [(match[1], match[2]) for match in _BLOCK.finditer(text)]


def rewritten(text: str, answer: Callable[[str], str]) -> str:
    """Give the page with each output replaced by the answer to its command."""
    return _BLOCK.sub(lambda match: f"```console\n$ {match[1]}\n{answer(match[1])}```", text)


@contextmanager
def server(port: str = "0") -> Iterator[str]:
    """Have the examples' slow server; give its port."""
    command = [sys.executable, str(EXAMPLES / "rules.py"), "serve", port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.terminate()


def printed(command: str, port: str) -> str:
    """Run a command of the page, and give what it prints.

    Raises:
        subprocess.CalledProcessError: it fails.

    """
    words = shlex.split(command.replace(PORT, port))
    ran = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=EXAMPLES,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    # Not for a page that is read with the port as it stands there.
    lines = ran.stdout.replace(port, PORT).strip("\n").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def main() -> None:
    """Write the page anew."""
    with server(PORT) as port:
        text = rewritten(PAGE.read_text(), lambda command: printed(command, port))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
