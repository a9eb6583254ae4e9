"""`loop.time()`, and programs that replace it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

import plait

if TYPE_CHECKING:
    from collections.abc import Callable


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
        begun = time.monotonic()
        waiting = asyncio.ensure_future(asyncio.sleep(3600))
        await asyncio.sleep(0)
        loop.ahead = 3599.99
        await waiting
        return time.monotonic() - begun

    with asyncio.Runner(loop_factory=Jumping) as runner:
        assert 0.01 <= runner.run(main()) < 60


@pytest.mark.parametrize("factory", [plait.new_event_loop, asyncio.SelectorEventLoop])
def test_timers_go_by_a_clock_that_is_put_in_place_while_the_loop_runs(
    factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        fired: list[str] = []
        handle = loop.call_at(now + 1000, fired.append, "now")
        later = loop.call_at(now + 2000, fired.append, "later")
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)
            await asyncio.sleep(0)
            assert not fired
            patch.setattr(loop, "time", lambda: now + 1000)
            for _ in range(2):
                await asyncio.sleep(0)
            assert fired == ["now"]
        # Its own again, for which it is not yet time.
        await asyncio.sleep(0.001)
        assert fired == ["now"]
        handle.cancel()
        later.cancel()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
