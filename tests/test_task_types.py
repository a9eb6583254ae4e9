"""What a type checker sees of tasks: results and arguments through `submit` and groups."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

RIGHT = """
import asyncio
from concurrent.futures import Executor
from typing import assert_type
import plait

def add(a: int, b: int = 0) -> str: ...
async def wait(seconds: float) -> bytes: ...
@plait.task(on="process", timeout=3, backoff=lambda attempt: attempt / 2, context=["a:b"])
def train(rows: list[int]) -> dict[str, int]: ...
@plait.task
async def later() -> int: ...

def use(executor: Executor) -> None:
    assert_type(plait.submit(add, 1, b=2), plait.Future[str])
    assert_type(plait.submit(wait, 1.5), plait.Future[bytes])
    assert_type(plait.submit(wait, 1.5, on="process"), plait.Future[bytes])
    assert_type(plait.submit(add, 1, on="thread"), plait.Future[str])
    assert_type(plait.submit(add, 1, on=executor), plait.Future[str])
    assert_type(plait.submit(train, [1]), plait.Future[dict[str, int]])
    assert_type(plait.submit(later), plait.Future[int])
    assert_type(train([1]), dict[str, int])
    assert_type(plait.submit(add, 1).result(), str)
    plait.default_executor("thread").submit(add, 1)
    assert_type(plait.map(add, [1, 2]), plait.Map[str])
    assert_type(plait.map(wait, [0.1], on="process", ordered=False), plait.Map[bytes])
    assert_type(plait.map(add, [1], range(2), window=3), plait.Map[str])
    assert_type(plait.map(train, [[1]]), plait.Map[dict[str, int]])
    assert_type(list(plait.map(add, [1])), list[str])
    assert_type(
        list(plait.map(add, [1], return_exceptions=True)), list[str | BaseException]
    )
    outcome = plait.parallel(add, [(1, 2)], timeout=3)[0]
    assert_type(outcome, plait.Outcome[str])
    assert_type(outcome.value, str | BaseException)
    assert_type(outcome.error, BaseException | None)
    assert_type(plait.parallel(wait, [1], on="loop"), list[plait.Outcome[bytes]])
    with plait.TaskGroup(timeout=3) as group:
        assert_type(group.submit(add, 1, b=2), plait.Future[str])
        assert_type(group.submit(wait, 1.5, on="process"), plait.Future[bytes])
        assert_type(group.submit(train, [1]), plait.Future[dict[str, int]])

async def use_in_coroutine() -> None:
    assert_type(await plait.submit(wait, 1), bytes)
    async for value in plait.map(wait, [1.5]):
        assert_type(value, bytes)
    async with plait.TaskGroup() as group:
        assert_type(group.submit(add, 1), plait.Future[str])
        assert_type(await group.submit(wait, 1.5), bytes)
        assert_type(group.create_task(wait(1)), asyncio.Task[bytes])
"""

# Each line is wrong.
WRONG = """
plait.submit(add, "one")
plait.submit(add, 1, c=3)
plait.submit(train)
plait.submit(add, 1, on="elsewhere")
plait.task(add, on=3)
plait.task(add, backoff="soon")
plait.default_executor("loop")
plait.set_default_executor("thread", plait.ProcessPoolExecutor())
plait.map(wait, 3)
plait.map(add)
plait.map(add, [1], on="elsewhere")
plait.map(add, [1], window="all")
plait.parallel(add, 3)
plait.TaskGroup().submit(add, "one")
plait.TaskGroup("soon")
"""


def check(folder: Path, source: str) -> str:
    path = folder / "used.py"
    path.write_text(source)
    answer = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context",
         "--disable-error-code", "empty-body", "--cache-dir", str(folder / "cache"), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )  # fmt: skip
    assert answer.stderr == ""
    return answer.stdout


def test_types(tmp_path: Path) -> None:
    wrong = WRONG.strip().splitlines()
    found = check(tmp_path, RIGHT + WRONG)
    first = len(RIGHT.splitlines()) + 2
    lines = {int(line.split(":")[1]) for line in found.splitlines() if "error:" in line}
    assert lines == set(range(first, first + len(wrong))), found
