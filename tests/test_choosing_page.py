"""The page on choosing shows what `plait which` prints: the form of it is held true here."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

import choosing_page

BLOCKS = choosing_page.shown(choosing_page.PAGE.read_text())


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    with choosing_page.server() as found:
        yield found


def header(output: str) -> list[str]:
    """Give the words of the table's heading, numbers left out."""
    line = next(line for line in output.splitlines() if line.strip().startswith("where"))
    return re.findall(r"[a-z]+(?:[ -][a-z]+)*", re.sub(r"\d+ calls?", "calls", line))


def methods(output: str) -> list[str]:
    """Give the methods that the table has, in its order."""
    return re.findall(r"^ (serial|thread|process|loop) ", output, re.MULTILINE)


def test_the_page_shows_the_three_rules() -> None:
    functions = [shlex.split(command)[2] for command, _ in BLOCKS]
    assert functions == ["rules:primes", "rules:fetch", "rules:fetch", "rules:fetch_many"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block[0]))
def test_the_page_has_the_form_of_what_is_printed(block: tuple[str, str], port: str) -> None:
    command, output = block
    now = choosing_page.printed(command, port)
    assert header(now) == header(output)
    assert methods(now) == methods(output)


def test_the_page_comes_to_what_people_say() -> None:
    said = [re.search(r"Use (?:a |[0-9]+ )?([a-z]+)", output) for _, output in BLOCKS]
    # The third is the blocking client: many threads, until it is written as a coroutine.
    wanted = ["process", "thread", "thread", "loop"]
    assert [
        found and found[1][: len(name)] for found, name in zip(said, wanted, strict=True)
    ] == wanted


def test_the_waiting_examples_are_told_from_the_computing_one(port: str) -> None:
    for words, waits in (
        (["rules:primes", "--args", "[12000]"], False),
        (["rules:fetch", "--args", f"[{port}]"], True),
        (["rules:fetch_many", "--args", f"[{port}, 0.02]"], True),
    ):
        ran = subprocess.run(
            [sys.executable, "-m", "plait", "which", *words, "--batch", "50", "--json"],
            cwd=choosing_page.EXAMPLES,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        signals = json.loads(ran.stdout)["signals"]
        waited = signals["wall"] - signals["cpu"] - signals["queued"]
        assert (waited > signals["cpu"]) is waits, signals


def test_outputs_are_replaced_and_nothing_else() -> None:
    page = (
        "a\n```console\n$ plait which a:b\nold\nold\n```\nb\n```console\n$ plait which c:d\n```\n"
    )
    new = choosing_page.rewritten(page, lambda command: f"{command}!\n")
    assert new == page.replace("old\nold\n", "plait which a:b!\n")
