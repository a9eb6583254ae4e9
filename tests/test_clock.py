"""`loop.time()`, and programs that replace it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import plait

if TYPE_CHECKING:
    import pytest


def when(loop: asyncio.AbstractEventLoop) -> float:
    handle = loop.call_later(1, print)
    handle.cancel()
    return handle.when()


def test_is_the_monotonic_clock() -> None:
    loop = plait.new_event_loop()
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()
    assert before + 1 <= when(loop) <= time.monotonic() + 1
    loop.close()


def test_may_be_replaced_and_put_back_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = plait.new_event_loop()
    # First without: what was found must not be kept for too long.
    assert when(loop) > 1
    loop.anything = 1  # type: ignore[attr-defined]
    assert when(loop) > 1
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: -5.0)
        assert when(loop) == -4.0
    assert when(loop) > 1
    vars(loop)["time"] = lambda: -7.0
    assert when(loop) == -6.0
    loop.close()


def test_may_be_replaced_and_put_back_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = plait.new_event_loop()
    for _ in range(3):
        assert when(loop) > 1
        with monkeypatch.context() as patch:
            patch.setattr(plait.EventLoop, "time", lambda self: -5.0)
            assert when(loop) == -4.0
        assert when(loop) > 1
    loop.close()


def test_may_be_replaced_by_a_subclass() -> None:
    class Later(plait.EventLoop):
        def time(self) -> float:
            return super().time() + 1000

    class Strange(plait.EventLoop):
        def __getattribute__(self, name: str) -> Any:
            return (lambda: -5.0) if name == "time" else super().__getattribute__(name)

    usual, later, strange = plait.new_event_loop(), Later(), Strange()
    for _ in range(3):
        assert when(usual) < time.monotonic() + 500
        assert when(later) > time.monotonic() + 500
        assert when(strange) == -4.0
    for loop in (usual, later, strange):
        loop.close()


def test_lets_a_program_jump_ahead() -> None:
    class Jumping(plait.EventLoop):
        ahead = 0.0

        def time(self) -> float:
            return super().time() + self.ahead

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Jumping)
        loop.ahead = -3600.0
        begun = time.monotonic()
        await asyncio.sleep(3600)
        return time.monotonic() - begun

    with asyncio.Runner(loop_factory=Jumping) as runner:
        assert runner.run(main()) < 60
